// Sets the chosen theme before the first paint, so it is loaded in the head, blocking, and stays tiny. `frame.js` has
// the switch. Without a choice the system's wish holds.
(() => {
  try {
    const theme = localStorage.getItem("vitrine-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; the system's wish holds then.
  }
})();
