//! What the library logs in a test process.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::filter::LevelFilter;

/// All warnings of this process since it was asked for, by all tests that run in it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The one log of this process. Nothing else may have set a subscriber for all threads.
    pub fn of_this_process() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::WARN);
            subscriber.with_writer(move || writer.clone()).init();
            log
        })
        .clone()
    }

    /// All lines.
    pub fn text(&self) -> String {
        self.since(0)
    }

    /// How many bytes were written so far: a mark for [`since`](Self::since).
    pub fn mark(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was written after this mark, by all threads.
    pub fn since(&self, mark: usize) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(log.get(mark..).unwrap_or_default()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
