// The validator is elsewhere, and nothing here asks elsewhere.
SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#swagger-ui',
  validatorUrl: null,
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
});
fetch('openapi.json')
  .then((answer) => answer.json())
  .then((description) => { document.title = description.info.title; });
