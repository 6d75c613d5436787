Redoc.init('openapi.json', { hideDownloadButton: false }, document.getElementById('redoc'));
fetch('openapi.json')
  .then((answer) => answer.json())
  .then((description) => { document.title = description.info.title; });
