//! One of the processes that acquire locks: tasks that acquire, hold, extend and release, and log every step.

use std::{
    io::{self, Write as _},
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use fastrand::Rng;
use redlock_core::{AcquireError, AcquireOptions, ExtendError, Lock, Redlock, Release, Retry, RoundFailure};
use tokio::{io::AsyncReadExt as _, sync::watch, task::JoinSet, time};

use crate::{
    args::{WorkerArgs, backend_of},
    faults::millis,
    hold::{ALREADY_GONE, LOST},
    log::{Event, What, Who, now},
};

/// Acquires and releases locks until its standard input ends.
pub(crate) async fn run(args: &WorkerArgs) -> Result<()> {
    end_with(args.parent)?;
    let backend = backend_of(args.number);
    let nodes = args.urls.iter().enumerate().map(|(index, url)| backend.open(index, url));
    let redlock = Redlock::new(nodes)?;
    let journal = Arc::new(Journal::default());
    journal.note(Who::Process(args.number), What::Begins);

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for task in 0..args.tasks {
        let worker = Worker {
            who: Who::Task { process: args.number, task },
            redlock: redlock.clone(),
            resources: args.resources,
            longest_ttl: args.longest_ttl_ms,
            journal: Arc::clone(&journal),
            random: Rng::with_seed(args.seed.wrapping_add(task as u64)),
            stopped: stopped.clone(),
        };
        tasks.spawn(worker.work());
    }
    let mut nothing = Vec::new();
    tokio::select! {
        _ = async { tokio::io::stdin().read_to_end(&mut nothing).await } => {}
        // A task that ends by itself has panicked.
        Some(ended) = tasks.join_next() => ended?,
    }
    stop.send_replace(true);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    // A node that is down now may still be owed releases; the log shows what is left of them.
    let _ = redlock.close().await;
    // A thread still waits for standard input, which would keep the runtime from ending.
    process::exit(0);
}

/// Makes the worker end with the soak, even while it is stopped by a signal.
fn end_with(parent: u32) -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The soak may have died before that call.
    let parent_now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent_now != Some(parent) {
        bail!("this is started by the soak, and ends with it");
    }
    Ok(())
}

/// Standard output, which the soak reads. A line is written before the step that it reports, or right after it.
#[derive(Debug, Default)]
struct Journal(Mutex<()>);

impl Journal {
    fn note(&self, who: Who, what: What) {
        self.note_with(who, |_| what);
    }

    /// Takes the time while it holds the mutex, so that lines are in the order of time.
    fn note_with(&self, who: Who, what: impl FnOnce(Duration) -> What) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let line = format!("{}\n", Event { at, who, what: what(at) });
        // It writes each line at once, so that a killed process leaves no partial line.
        let mut stdout = io::stdout().lock();
        if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            // The soak does not read anymore.
            process::exit(1);
        }
    }
}

/// The plan of a task for one lock.
#[derive(Debug)]
struct Section {
    resource: usize,
    ttl: Duration,
    patience: Duration,
    /// The call is dropped when the patience is over, instead of having a timeout.
    drops_the_call: bool,
    /// How often the lock is extended, each time after half of its validity.
    extends: u32,
    /// How long the lock is held; `None` means until the very end of its validity.
    held: Option<Duration>,
    /// The lock is dropped instead of released.
    drops_the_lock: bool,
}

impl Section {
    fn random(random: &mut Rng, resources: usize, longest_ttl: u64) -> Self {
        let shortest_ttl = if longest_ttl < 2_000 { 120 } else { 1_000 };
        let ttl = millis(random, shortest_ttl, longest_ttl);
        // Such holds are rare with long TTLs, because nobody else can acquire the lock meanwhile.
        let to_the_end = if ttl < Duration::from_secs(2) { 4 } else { 400 };
        Self {
            resource: random.usize(0..resources),
            ttl,
            patience: millis(random, 100, 4_000),
            drops_the_call: random.u8(0..4) == 0,
            extends: if random.u8(0..6) == 0 && ttl < Duration::from_secs(2) { random.u32(1..=3) } else { 0 },
            held: if random.u16(0..to_the_end) == 0 { None } else { Some(millis(random, 1, 100)) },
            drops_the_lock: random.u8(0..4) == 0,
        }
    }
}

/// One task.
struct Worker {
    who: Who,
    redlock: Redlock,
    resources: usize,
    /// In milliseconds.
    longest_ttl: u64,
    journal: Arc<Journal>,
    random: Rng,
    stopped: watch::Receiver<bool>,
}

impl Worker {
    async fn work(mut self) {
        while !*self.stopped.borrow() {
            let section = Section::random(&mut self.random, self.resources, self.longest_ttl);
            if let Some(lock) = self.acquire(&section).await {
                self.hold(lock, &section).await;
            }
            let rest = millis(&mut self.random, 1, 100);
            self.pause(rest).await;
        }
    }

    async fn acquire(&mut self, section: &Section) -> Option<Lock> {
        self.note(What::Wants(section.resource));
        // Short pauses: the more rounds there are, the more can go wrong.
        let retry = match section.drops_the_call {
            true => Retry::default().unlimited(),
            false => Retry::timeout(section.patience),
        };
        let options = AcquireOptions::new(section.ttl)
            .retry(retry.fixed(Duration::from_millis(40)).jitter(Duration::from_millis(30)));
        // The name belongs to one soak; a given server may have other keys.
        let call = self.redlock.acquire(resource_name(section.resource), options);
        let patience = section.patience + if section.drops_the_call { Duration::ZERO } else { Duration::from_secs(5) };
        let mut stopped = self.stopped.clone();
        let called = tokio::select! {
            called = call => called,
            () = time::sleep(patience) => return self.not_got("call-dropped"),
            _ = stopped.changed() => return self.not_got("call-dropped"),
        };
        match called {
            Ok(lock) => {
                let token = lock.token().as_str().to_owned();
                self.journal.note_with(self.who, |at| What::Holds {
                    resource: section.resource,
                    token,
                    until: deadline(&lock, at),
                });
                Some(lock)
            }
            Err(error) => self.not_got(why_not_got(&error)),
        }
    }

    fn not_got(&self, why: &str) -> Option<Lock> {
        self.note(What::NotGot(why.to_owned()));
        None
    }

    async fn hold(&mut self, mut lock: Lock, section: &Section) {
        for _ in 0..section.extends {
            self.pause(lock.validity() / 2).await;
            if lock.check().is_err() || *self.stopped.borrow() {
                break;
            }
            match lock.extend(section.ttl).await {
                Ok(_) => self.journal.note_with(self.who, |at| What::Extended { until: deadline(&lock, at) }),
                Err(error) => self.note(What::NotExtended(why_not_extended(&error).to_owned())),
            }
        }
        match section.held {
            Some(held) => self.pause(held.min(lock.validity())).await,
            None => self.pause_until_invalid(&lock).await,
        }
        // Logged before the first byte of the release is sent: from now on another task may acquire the lock.
        self.note(What::Ends);
        let outcome = if section.drops_the_lock {
            drop(lock);
            "dropped"
        } else {
            match lock.release().await {
                Ok(Release::Released) => "released",
                Ok(_) => ALREADY_GONE,
                Err(_) => "unknown",
            }
        };
        self.note(What::GivenBack(outcome.to_owned()));
    }

    /// Pauses, but not beyond the end of the soak.
    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = time::sleep(time) => {}
            _ = self.stopped.changed() => {}
        }
    }

    async fn pause_until_invalid(&mut self, lock: &Lock) {
        while lock.check().is_ok() && !*self.stopped.borrow() {
            self.pause(lock.validity()).await;
        }
    }

    fn note(&self, what: What) {
        self.journal.note(self.who, what);
    }
}

fn resource_name(resource: usize) -> String {
    format!("soak:{resource}")
}

/// Returns the end of the lock's validity. It is never later than the real end, even if this process was paused between
/// the two readings of the clock.
fn deadline(lock: &Lock, at: Duration) -> Duration {
    at + lock.validity()
}

fn why_not_got(error: &AcquireError) -> &'static str {
    match error.attempts().map(|tried| tried.failure) {
        Some(RoundFailure::Contended) => "contended",
        Some(RoundFailure::NoQuorum) => "no-quorum",
        Some(RoundFailure::TooLate) => "too-late",
        _ => "failed",
    }
}

fn why_not_extended(error: &ExtendError) -> &'static str {
    match error {
        ExtendError::Lost { .. } => LOST,
        ExtendError::NoQuorum { .. } => "no-quorum",
        ExtendError::Expired { .. } => "expired",
        ExtendError::ExtendedTooLate { .. } => "too-late",
        _ => "failed",
    }
}
