// The form that starts a job: the first fault takes the focus, a second press starts nothing twice.

const form = document.querySelector("[data-job-form]");
const fault = form?.querySelector('[aria-invalid="true"]') ?? document.getElementById("form-faults");
if (fault instanceof HTMLElement) fault.focus();

form?.addEventListener("submit", () => {
  const button = form.querySelector("button.primary");
  // After the form's own values were collected, so that nothing is missing from them.
  setTimeout(() => button instanceof HTMLButtonElement && (button.disabled = true));
});

// Back from the job's page the browser may show this page as it was left.
addEventListener("pageshow", () => {
  const button = form?.querySelector("button.primary");
  if (button instanceof HTMLButtonElement) button.disabled = false;
});
