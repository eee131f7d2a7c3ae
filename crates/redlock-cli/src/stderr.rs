//! Standard error, written by a separate thread: a stalled reader must not delay the code that extends or ends a lock.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The number of lines that may wait to be written. Further lines are dropped, and counted.
const LINES: usize = 1024;

/// Lines for standard error. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stderr {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
    has_writer: bool,
    is_writing: bool,
}

impl Stderr {
    /// Queues a line, with its line break. Never blocks.
    pub(crate) fn send(&self, line: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.lines.len() >= LINES {
            queue.dropped += 1;
            return;
        }
        queue.lines.push_back(line);
        if !queue.has_writer {
            let shared = Arc::clone(&self.shared);
            // Without a thread, for example under a limit of processes, the lines wait for `flush`.
            queue.has_writer = thread::Builder::new().name("stderr".to_owned()).spawn(move || shared.write()).is_ok();
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until all lines are written, for `patience` at most. For the end of the process.
    pub(crate) fn flush(&self, patience: Duration) {
        let is_busy = |queue: &mut Queue| queue.has_writer && (queue.is_writing || !queue.lines.is_empty());
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, is_busy);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !queue.has_writer {
            queue.lines.drain(..).for_each(|line| write(&line));
        }
    }
}

/// For the library's log, which writes each event at once.
impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes queued lines until the process ends.
    fn write(&self) {
        loop {
            let is_idle = |queue: &mut Queue| queue.lines.is_empty() && queue.dropped == 0;
            let mut queue = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            queue.is_writing = true;
            let line = queue.lines.pop_front().unwrap_or_else(|| {
                let dropped = mem::take(&mut queue.dropped);
                format!("redlock: {dropped} messages were dropped: standard error was blocked\n").into_bytes()
            });
            drop(queue);
            write(&line);
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

/// Nothing can be done if it fails.
fn write(line: &[u8]) {
    let _ = io::stderr().lock().write_all(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let stderr = Stderr::default();
        // This simulates a thread that could not be started, or was blocked.
        stderr.shared.lock().has_writer = true;
        for _ in 0..LINES + 7 {
            stderr.send(b"line\n".to_vec());
        }
        let queue = stderr.shared.lock();
        assert_eq!((queue.lines.len(), queue.dropped), (LINES, 7));
    }

    #[test]
    fn what_is_written_is_waited_for_and_what_is_blocked_is_not_for_long() {
        let stderr = Stderr::default();
        stderr.send(Vec::new());
        stderr.flush(Duration::from_secs(60));
        assert!(stderr.shared.lock().lines.is_empty());
        let blocked = Stderr::default();
        blocked.shared.lock().has_writer = true;
        blocked.send(Vec::new());
        blocked.flush(Duration::from_millis(1));
        assert_eq!(blocked.shared.lock().lines.len(), 1);
    }
}
