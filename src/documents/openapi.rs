//! OpenAPI 3.1: the table of routes, with what each of them takes and answers.

use utoipa::openapi::path::{HttpMethod, Operation, PathItemBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathItem, PathsBuilder, Ref, Server,
};

use super::operations::{TAGS, is_guarded, is_limited, told};
use super::replies::{self, leave_body_out, refusal};
use super::{Description, parameters, schemas};
use crate::api::route::Route;

const ABOUT: &str = "A real-time message proxy: JSON messages in over HTTP, out over WebSocket, Server-Sent \
     Events and long poll.\n\nEvery answer has `X-Request-Id`. Another method than those described is answered 405 \
     with `Allow`, one slash too many at the end of a path 307; `OPTIONS` answers CORS preflights of listed origins. \
     What WebSocket and stream say is in `asyncapi.json`.";

/// The methods of all routes, as [`Route::allow`] names them.
const METHODS: [(&str, HttpMethod); 5] = [
    ("GET", HttpMethod::Get),
    ("HEAD", HttpMethod::Head),
    ("POST", HttpMethod::Post),
    ("PUT", HttpMethod::Put),
    ("DELETE", HttpMethod::Delete),
];

/// The document.
pub(super) fn describe(about: &Description<'_>) -> OpenApi {
    let offered = |route: &Route| about.has_echo || *route != Route::WebSocketEcho;
    let paths = Route::ALL
        .into_iter()
        .filter(offered)
        .fold(PathsBuilder::new(), |paths, route| {
            paths.path(route.pattern(), path(route, about))
        });
    let tags = TAGS.map(|(name, text)| {
        let tag = TagBuilder::new().name(name);
        tag.description(Some(text)).build()
    });
    OpenApiBuilder::new()
        .info(info(about))
        .servers(Some([Server::new(".")]))
        .tags(Some(tags))
        .paths(paths)
        .components(Some(components(about)))
        .build()
}

fn info(about: &Description<'_>) -> Info {
    let license = LicenseBuilder::new().name("MIT").identifier(Some("MIT"));
    InfoBuilder::new()
        .title(about.title)
        .version(about.version)
        .description(Some(ABOUT))
        .license(Some(license.build()))
        .build()
}

fn components(about: &Description<'_>) -> Components {
    let components =
        replies::all(schemas::all()).parameter("RequestId", parameters::request_id().build());
    with_security_schemes(components, about).build()
}

fn path(route: Route, about: &Description<'_>) -> PathItem {
    let is_allowed = |name| route.allow().split(", ").any(|it| it == name);
    METHODS
        .into_iter()
        .filter(|(name, _)| is_allowed(*name))
        .fold(PathItemBuilder::new(), |item, (_, method)| {
            let operation = operation(route, &method, about);
            item.operation(method, operation)
        })
        .build()
}

fn operation(route: Route, method: &HttpMethod, about: &Description<'_>) -> Operation {
    let mut operation = told(route, method)
        .parameter_ref(Ref::new("#/components/parameters/RequestId"))
        .securities(Some(security(route, about)));
    if is_guarded(route, about) {
        operation = operation.response("401", refusal(401));
    }
    if is_limited(route) {
        operation = operation.response("429", refusal(429));
    }
    match method {
        HttpMethod::Head => head_of(operation.build()),
        _ => operation.build(),
    }
}

/// `HEAD` of what is told as `GET`.
fn head_of(mut get: Operation) -> Operation {
    get.operation_id = get.operation_id.map(|id| format!("{id}Head"));
    get.summary = get
        .summary
        .map(|summary| format!("{summary} (the head of the answer alone)"));
    let answers = get.responses.responses.values_mut();
    answers.for_each(leave_body_out);
    get
}

fn with_security_schemes(
    components: ComponentsBuilder,
    about: &Description<'_>,
) -> ComponentsBuilder {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT or API key")
        .description(Some(
            "An access token or an API key. For WebSockets of browsers also as the subprotocols \
             `bearer, bearer.<credential>`.",
        ));
    let in_query = |name, about| {
        let value = ApiKeyValue::with_description(name, about);
        SecurityScheme::ApiKey(ApiKey::Query(value))
    };
    let ticket = in_query(
        "ticket",
        "A ticket from `POST /api/v1/tickets`, good for one stream or WebSocket.",
    );
    let token = in_query("token", "The same credential as for `bearer`.");
    let components = components
        .security_scheme("bearer", SecurityScheme::Http(bearer.build()))
        .security_scheme("ticket", ticket);
    match about.takes_query_tokens {
        true => components.security_scheme("token", token),
        false => components,
    }
}

/// Any one of these is enough; without credentials on this server, none is needed.
fn security(route: Route, about: &Description<'_>) -> Vec<SecurityRequirement> {
    if !is_guarded(route, about) {
        return Vec::new();
    }
    let by = |scheme: &str| SecurityRequirement::new(scheme, Vec::<String>::new());
    let mut any = vec![by("bearer")];
    if matches!(
        route,
        Route::Stream | Route::WebSocket | Route::WebSocketEcho
    ) {
        any.push(by("ticket"));
    }
    if about.takes_query_tokens {
        any.push(by("token"));
    }
    if !about.asks_for_credentials {
        any.push(SecurityRequirement::default());
    }
    any
}
