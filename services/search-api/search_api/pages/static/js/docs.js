// Swagger UI in the page's theme. Its calls carry the session, if there is one.

const root = document.documentElement;
const darkWish = matchMedia("(prefers-color-scheme: dark)");

function followTheme() {
  const theme = root.dataset.theme ?? (darkWish.matches ? "dark" : "light");
  root.classList.toggle("dark-mode", theme === "dark");
}

followTheme();
darkWish.addEventListener("change", followTheme);
document.addEventListener("vitrine:theme", followTheme);

const target = document.getElementById("swagger");
if (target) {
  // Swagger UI renders nothing until the document has loaded: the page is busy until calls or an error are shown.
  target.setAttribute("aria-busy", "true");
  const drawn = new MutationObserver(() => {
    if (target.querySelector(".opblock, .errors-wrapper")) {
      target.removeAttribute("aria-busy");
      drawn.disconnect();
    }
  });
  drawn.observe(target, { childList: true, subtree: true });
  window.SwaggerUIBundle({
    url: target.dataset.document,
    domNode: target,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    validatorUrl: null,
    queryConfigEnabled: false,
    syntaxHighlight: { activated: false },
    defaultModelsExpandDepth: 0,
  });
}
