// The form that starts a job: focus the first error, and prevent a second submit.

const form = document.querySelector("[data-job-form]");
const fault = form?.querySelector('[aria-invalid="true"]') ?? document.getElementById("form-faults");
if (fault instanceof HTMLElement) fault.focus();

form?.addEventListener("submit", () => {
  const button = form.querySelector("button.primary");
  // After the form's values were collected, so that none is missing.
  setTimeout(() => button instanceof HTMLButtonElement && (button.disabled = true));
});

// Going back, the browser may restore this page with its buttons disabled.
addEventListener("pageshow", () => {
  const button = form?.querySelector("button.primary");
  if (button instanceof HTMLButtonElement) button.disabled = false;
});
