//! An HTTP handler under a lock: each invoice is charged once, however many requests and hosts there are.
//!
//! Usage:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! LISTEN=127.0.0.1:3000 cargo run -p redlock-redis-rs --example axum_handler
//! curl -i -X POST http://127.0.0.1:3000/invoices/42/charge
//! ```
//!
//! | answer | meaning |
//! |---|---|
//! | 200 | the invoice is charged, by this request or an earlier one |
//! | 409, `Retry-After` | another request is charging it right now |
//! | 503, `Retry-After` | too few nodes answered, or the lock was lost before the charge: nothing was charged |

use std::{collections::HashSet, env, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::post,
};
use redlock_core::{AcquireError, AcquireOptions, Lock, LockLost, Redlock, Release};
use redlock_redis_rs::RedisNode;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Mutex,
    time::sleep,
};
use tokio_util::task::TaskTracker;

/// Longer than any charge takes.
const TTL: Duration = Duration::from_secs(30);
/// How long a request waits for another one that charges the same invoice.
const PATIENCE: Duration = Duration::from_millis(500);
/// Seconds after which a refused request may be sent again.
const COME_AGAIN: u32 = 1;

/// The state that all handlers share, with one `Redlock` for the whole process.
struct Service {
    redlock: Redlock,
    charges: TaskTracker,
    bank: Bank,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let redlock = Redlock::new(RedisNode::from_env()?)?;
    let service = Arc::new(Service { redlock, charges: TaskTracker::new(), bank: Bank::default() });
    let app = Router::new().route("/invoices/{id}/charge", post(charge)).with_state(Arc::clone(&service));

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("listening on {listen}"))?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let told_to_end = async move { _ = terminate.recv().await };
    axum::serve(listener, app).with_graceful_shutdown(told_to_end).await?;

    // All requests are answered. Now wait for the charges whose clients hung up, and then for the locks' background
    // work.
    service.charges.close();
    service.charges.wait().await;
    service.redlock.close().await?;
    Ok(())
}

async fn charge(State(service): State<Arc<Service>>, Path(invoice): Path<u64>) -> Result<String, Refusal> {
    // A client that hangs up drops this handler. The charge is a separate task, which runs to its end.
    let charge = service.charges.spawn(Arc::clone(&service).charge_under_lock(invoice));
    charge.await.map_err(|_| Refusal::Broken)?
}

impl Service {
    async fn charge_under_lock(self: Arc<Self>, invoice: u64) -> Result<String, Refusal> {
        let options = AcquireOptions::new(TTL).timeout(PATIENCE);
        let lock = self.redlock.acquire(format!("invoice:{invoice}"), options).await?;
        let charged = self.bank.charge(invoice, &lock).await;
        match lock.release().await {
            Ok(Release::NotHeld) => tracing::warn!(invoice, "the lock was lost: another charge may have overlapped"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error), // the lock ends with its TTL: the answer stays the same
        }
        Ok(charged?)
    }
}

/// Why nothing was charged.
enum Refusal {
    NotLocked(AcquireError),
    Lost(LockLost),
    Broken,
}

impl From<AcquireError> for Refusal {
    fn from(error: AcquireError) -> Self {
        Self::NotLocked(error)
    }
}

impl From<LockLost> for Refusal {
    fn from(loss: LockLost) -> Self {
        Self::Lost(loss)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let come_again = [(RETRY_AFTER, COME_AGAIN.to_string())];
        match self {
            Self::NotLocked(error) if error.is_contended() => {
                (StatusCode::CONFLICT, come_again, "is being charged\n").into_response()
            }
            Self::NotLocked(error) => {
                tracing::error!(%error, "nothing can be charged");
                (StatusCode::SERVICE_UNAVAILABLE, come_again, "try again later\n").into_response()
            }
            Self::Lost(loss) => {
                tracing::error!(%loss, "not charged");
                (StatusCode::SERVICE_UNAVAILABLE, come_again, "try again later\n").into_response()
            }
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Simulates a real service: a database that knows which invoices are paid, and a bank that takes its time.
#[derive(Default)]
struct Bank {
    paid: Mutex<HashSet<u64>>,
}

impl Bank {
    async fn charge(&self, invoice: u64, lock: &Lock) -> Result<String, LockLost> {
        if self.paid.lock().await.contains(&invoice) {
            return Ok(format!("{invoice} was charged before\n"));
        }
        sleep(Duration::from_secs(3)).await;
        lock.check()?; // right before the side effect: is it still ours?
        self.paid.lock().await.insert(invoice);
        tracing::info!(invoice, "charged");
        Ok(format!("{invoice} is charged\n"))
    }
}
