// Swagger UI on this service's own description; nothing is asked of any other host.
const theme = document.documentElement.dataset.theme;
const dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.toggle("dark-mode", dark);

window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  presets: [window.SwaggerUIBundle.presets.apis],
  // A key that was given to the page counts here too.
  requestInterceptor(request) {
    const key = sessionStorage.getItem("subnet-search.key");
    if (key && !request.headers.Authorization) request.headers.Authorization = `Bearer ${key}`;
    return request;
  },
});
