//! The trait for observers of events.

use std::{fmt, sync::Arc};

use super::event::Event;

/// Receives the events of locks and nodes, if set with [`RedlockBuilder::observer`](crate::RedlockBuilder::observer):
/// for metrics (`Metrics` with the feature `metrics`), audits, and tests.
///
/// ```
/// use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
/// use redlock_core::{Event, Observer, Redlock};
/// use redlock_mock::MockNode;
///
/// /// Counts the locks that another may have held at the same time.
/// #[derive(Debug, Default)]
/// struct Alarm(AtomicU64);
///
/// impl Observer for Alarm {
///     fn observe(&self, event: &Event<'_>) {
///         if let Event::Breached { resources, .. } = event {
///             eprintln!("look at the nodes: {resources} was lost while it was valid");
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::builder().nodes(MockNode::fleet(3)).observer(Alarm::default()).build()?;
/// # let _ = redlock.acquire("report", Duration::from_secs(10)).await?.release().await?;
/// # Ok(())
/// # }
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Called immediately by the task that does the work, which waits until this returns. So do not block here; send
    /// longer work to a task of your own. May be called from several threads at the same time. A panic here is logged,
    /// and has no other effect.
    fn observe(&self, event: &Event<'_>);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}
