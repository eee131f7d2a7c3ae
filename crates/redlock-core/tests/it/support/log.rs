//! Captures what one test logs, while other tests of the same process run on other threads.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, Interest},
};

/// Installs `subscriber` for this thread until the guard is dropped. It receives every event and span of the thread
/// that it is interested in, even if a thread without a subscriber has reached them first.
///
/// While only one subscriber is registered, `tracing` asks the default subscriber *of the current thread* whether it is
/// interested in a new callsite, and caches the answer for the whole process. On a thread without a subscriber the
/// answer is "never". [`Keeper`]s, which stay registered, prevent that.
pub(crate) fn capture(subscriber: impl Into<Dispatch>) -> DefaultGuard {
    static KEEPERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    // At the level `OFF` no callsite is reached. So the first keeper is never queried while it is the only one.
    KEEPERS.get_or_init(|| [LevelFilter::OFF, LevelFilter::TRACE].map(|level| Dispatch::new(Keeper(level))));
    tracing::dispatcher::set_default(&subscriber.into())
}

/// A subscriber that records nothing, and keeps `tracing` from caching that nobody is interested in a callsite.
struct Keeper(LevelFilter);

impl Subscriber for Keeper {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Text that a subscriber has written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
