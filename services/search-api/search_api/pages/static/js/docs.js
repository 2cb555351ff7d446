// Swagger UI over the API's own document, in the page's theme. Calls made here carry the session, if there is one.

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
