//! The log lines of the library in a test process.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::filter::LevelFilter;

/// All warnings of this process since the first call of [`of_this_process`](Self::of_this_process), from all its tests.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the one log of this process. Nothing else may have set a subscriber for all threads.
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

    /// Returns all lines.
    pub fn text(&self) -> String {
        self.since(0)
    }

    /// Returns how many bytes were written so far: a mark for [`since`](Self::since).
    pub fn mark(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns what all threads have written after this mark.
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
