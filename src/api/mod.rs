//! HTTP: health, metrics, REST. Thin: reads what came, calls a room, writes what it answered; decides nothing.

mod auth;
mod deliveries;
mod destinations;
mod health;
mod problem;
mod providers;
pub mod query;
mod requests;
mod scans;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

pub use health::NotReady;
pub use problem::ApiProblem;
pub use serve::serve;

use crate::deliver;
use crate::destination::Destination;
use crate::domain::request::MAX_BYTES;
use crate::intake::Intake;
use crate::provider::Provider;
use crate::render::Renderer;
use crate::secret::SecretSource;
use crate::store::SharedStore;
use crate::telemetry;
use crate::time::Clock;
use crate::watch;

/// An answer that takes longer than this is given up: nobody waits for it any more.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A provider and how it is doing.
pub struct ProviderEntry {
    /// The provider.
    pub provider: Arc<Provider>,
    /// How its watcher is doing.
    pub health: watch::ProviderHealth,
}

/// A destination and how it is doing.
pub struct DestinationEntry {
    /// The destination.
    pub destination: Arc<Destination>,
    /// How its deliverer is doing.
    pub health: deliver::Health,
}

/// Wakes the deliverer of one destination, or all.
pub type WakeDelivery = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// Everything the handlers call.
pub struct Api {
    /// The store, for lists and replays.
    pub store: SharedStore,
    /// Takes requests.
    pub intake: Arc<Intake>,
    /// Renders test messages.
    pub renderer: Arc<Renderer>,
    /// By configuration, in the order of their names.
    pub providers: Vec<ProviderEntry>,
    /// By configuration, in the order of their names.
    pub destinations: Vec<DestinationEntry>,
    /// State of the broker connection; `None` when no broker is configured.
    pub broker: Option<crate::intake::amqp::Health>,
    /// Asked of everybody but health checks; `None` on loopback.
    pub token: Option<SecretSource>,
    /// The metrics recorder.
    pub metrics: telemetry::metrics::Handle,
    /// What time it is.
    pub clock: Clock,
    /// After a replay.
    pub wake_delivery: WakeDelivery,
}

type Shared = State<Arc<Api>>;

/// The routes of the contract (section 8).
pub fn router(api: Arc<Api>) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(no_such_method);
    let guarded = Router::new()
        .route("/metrics", get(health::metrics))
        .route("/v1/requests", post(requests::accept))
        .route("/v1/scans", get(scans::list))
        .route("/v1/scans/{id}", get(scans::show))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/replay", post(deliveries::replay_many))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/deliveries/{id}/replay", post(deliveries::replay_one))
        .route("/v1/destinations", get(destinations::list))
        .route("/v1/destinations/{name}/test", post(destinations::test))
        .route("/v1/providers", get(providers::list))
        .fallback(no_such_path)
        // Before the token is asked for, so that it is asked for here too.
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_token));
    open.merge(guarded)
        // One byte more than allowed, so that the handler can say "too large" in the words of the contract.
        .layer(DefaultBodyLimit::max(MAX_BYTES + 1))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(middleware::map_response(problem::instead_of_plain_errors))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .with_state(api)
}

async fn no_such_path(request: Request) -> ApiProblem {
    ApiProblem::not_found(format!("there is nothing at {}", request.uri().path()))
}

async fn no_such_method(request: Request) -> ApiProblem {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    ApiProblem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// An answer in JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => ApiProblem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The list shape of the contract, for lists that are always one page.
#[derive(Serialize)]
struct WholeList<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> WholeList<T> {
    fn of(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
