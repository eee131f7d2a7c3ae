//! One connection to one node: made when it is first needed, shared, and replaced when it breaks or stops answering.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Answered, Call, Connect, Failure, NodeUrl, attempt::Attempt, until_left::UntilLeft};
use crate::node::{NodeError, NodeErrorKind, WakeUps, WrongServer};

/// How long a connection may leave every command unanswered before it is given up.
///
/// A hung node never fails by itself: unanswered commands would pile up in memory, and the node would have to work
/// through all of them once it is back.
const SILENCE: Duration = Duration::from_secs(2);

/// Minimum age of a connection that is replaced because the server may no longer be the right one. The host name may
/// lead to another server by now; if it does not, reconnecting all the time would not help.
const RESOLVED_AGAIN: Duration = Duration::from_secs(1);

/// Maximum time added to the minimum age, so that not all processes connect at the same time.
const JITTER: Duration = Duration::from_millis(250);

/// How long a server may load its data before it counts as the wrong one. After a restart it is the right one.
const LOADS: Duration = Duration::from_secs(3);

/// How soon a command that was sent over an idle connection is sent again at the earliest.
const OVERTAKEN_AFTER: Duration = Duration::from_millis(20);

/// Why a connection yielded no answer.
enum Unanswered {
    /// There is nothing more to try.
    Failed(NodeError),
    /// The connection is gone; `sent` is whether the command was sent over it.
    Gone { error: NodeError, sent: bool },
}

/// The connection to a node.
pub struct Connection<C: Connect> {
    client: C,
    /// Time without an answer after which the connection counts as idle.
    idle_limit: Option<Duration>,
    /// Locked only to read or swap the value, never across an `await`.
    current: Mutex<Option<Current<C>>>,
    /// Whether the first connect has succeeded or failed.
    has_tried: Arc<AtomicBool>,
    /// Whether any command has ever succeeded.
    has_succeeded: AtomicBool,
    /// Changes when a connection is given up because the server may be the wrong one.
    left: watch::Sender<()>,
}

struct Current<C: Connect> {
    attempt: Attempt<C>,
    /// When the last answer arrived, or when the connection was started.
    answered: Instant,
    /// A second connection, from when the first was idle for too long until the first answers again. The commands that
    /// may use it keep it open.
    successor: Weak<Successor<C>>,
    /// When the first of the commands was sent that have timed out since the last answer.
    silent_since: Option<Instant>,
    /// Since when the server has answered only that it is loading its data.
    loading_since: Option<Instant>,
    made: Instant,
    /// Minimum age before the connection is replaced, even if the server may be the wrong one.
    stays: Duration,
}

/// A second connection, which takes the place of one that was idle if that does not answer.
struct Successor<C: Connect> {
    attempt: Attempt<C>,
    begun: Instant,
}

impl<C: Connect> Current<C> {
    fn new(attempt: Attempt<C>, begun: Instant) -> Self {
        Self {
            attempt,
            answered: begun,
            successor: Weak::new(),
            silent_since: None,
            loading_since: None,
            made: begun,
            stays: RESOLVED_AGAIN + jitter(),
        }
    }
}

impl<C: Connect> Connection<C> {
    /// Creates a connection that connects when it is first used.
    pub fn new(client: C) -> Self {
        Self {
            client,
            idle_limit: Some(NodeUrl::DEFAULT_IDLE_LIMIT),
            current: Mutex::new(None),
            has_tried: Arc::default(),
            has_succeeded: AtomicBool::new(false),
            left: watch::Sender::default(),
        }
    }

    /// Sets the idle limit. Once nothing has been answered for this long, the next command is also sent over a second
    /// connection, unless the first one answers before that is made. `None` turns it off. Default:
    /// [`NodeUrl::DEFAULT_IDLE_LIMIT`].
    #[must_use]
    pub fn with_idle_limit(self, idle_limit: Option<Duration>) -> Self {
        Self { idle_limit, ..self }
    }

    /// Returns the client that connects.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Returns whether the first connect has neither succeeded nor failed yet.
    pub fn is_new(&self) -> bool {
        !self.has_tried.load(Ordering::Relaxed)
    }

    /// Runs a script, or the plain command of a [`Call`] without a script.
    ///
    /// If the connection turns out to be broken, connects again at once and sends the same command again: the node may
    /// have been restarted long ago. That is safe because each command is idempotent in its effect for its token. After
    /// a failed connect, no other is tried for [`Connect::pause`], and commands return its error. Otherwise, under
    /// load, every lock would try a node that is down.
    ///
    /// If the connection has been idle for the [idle limit](Self::with_idle_limit), sends the command again as soon as
    /// a second connection is made: a network path that has forgotten the first one does not report it.
    ///
    /// If the server answers that it is a replica, has been loading for some seconds, or requires a password although
    /// earlier commands have succeeded, the host name may lead to another server by now. The connection is then
    /// replaced, at most once a second.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or the answer is an error.
    pub async fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let run = |connection| C::run(connection, call, response_timeout);
        let (reply, sent_again) = self.carry_out(connect_timeout, response_timeout, run).await?;
        Ok(Answered { reply, sent_again })
    }

    /// Runs a script like [`call`](Self::call), on a member of a Redis Cluster that is taking over the hash slot of the
    /// keys.
    pub(super) async fn call_asking(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let run = |connection| C::run_asking(connection, call, response_timeout);
        let (reply, sent_again) = self.carry_out(connect_timeout, response_timeout, run).await?;
        Ok(Answered { reply, sent_again })
    }

    /// Sends a plain command, like [`RedisClient::command`](super::RedisClient::command). If the connection turns out
    /// to be broken, sends it once more over a new one.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or the answer is an error.
    pub async fn command(
        &self,
        words: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Vec<String>, NodeError> {
        let run = |connection| C::command(connection, words, response_timeout);
        Ok(self.carry_out(connect_timeout, response_timeout, run).await?.0)
    }

    /// Listens over the connection that `opening` makes, until the server may be the wrong one: waiters then listen to
    /// the server that the host name leads to.
    ///
    /// # Errors
    ///
    /// The errors of `opening`.
    pub async fn listen<W: WakeUps + 'static>(
        &self,
        opening: impl Future<Output = Result<W, NodeError>>,
    ) -> Result<Box<dyn WakeUps>, NodeError> {
        // Before `opening` connects: the server may be given up meanwhile.
        let left = self.left.subscribe();
        Ok(Box::new(UntilLeft::new(opening.await?, left)))
    }

    /// Returns the answer, and whether the command was sent twice. Ends within the sum of both timeouts.
    async fn carry_out<A, F>(
        &self,
        connect_timeout: Duration,
        response_timeout: Duration,
        run: impl Fn(C::Connection) -> F,
    ) -> Result<(A, bool), NodeError>
    where
        F: Future<Output = Result<A, Failure>>,
    {
        let started = Instant::now();
        let sent_before = match self.carry_out_once(started, connect_timeout, &run).await {
            Ok(answer) => return Ok((answer, false)),
            Err(Unanswered::Failed(error)) => return Err(error),
            Err(Unanswered::Gone { sent, .. }) => sent,
        };
        let bound = connect_timeout.saturating_add(response_timeout);
        let left = bound.saturating_sub(started.elapsed());
        // Rare, and boxed so that all other commands stay small.
        match timeout(left, Box::pin(self.carry_out_once(Instant::now(), connect_timeout, &run))).await {
            Ok(Ok(answer)) => Ok((answer, sent_before)),
            Ok(Err(Unanswered::Failed(error) | Unanswered::Gone { error, .. })) if sent_before => {
                Err(error.perhaps_sent())
            }
            Ok(Err(Unanswered::Failed(error) | Unanswered::Gone { error, .. })) => Err(error),
            Err(_) => Err(NodeError::no_answer(bound)),
        }
    }

    async fn carry_out_once<A, F>(
        &self,
        started: Instant,
        connect_timeout: Duration,
        run: impl Fn(C::Connection) -> F,
    ) -> Result<A, Unanswered>
    where
        F: Future<Output = Result<A, Failure>>,
    {
        let (mut attempt, successor) = self.attempt(started, connect_timeout);
        let successor = successor.as_deref();
        let (error, sent) = match attempt.connection(connect_timeout).await {
            Some(Ok(connection)) => {
                let sent = Instant::now();
                let reply = match successor {
                    None => run(connection).await,
                    // Rare, and boxed so that all other commands stay small.
                    Some(successor) => Box::pin(self.race(run(connection), &attempt, successor)).await,
                };
                match reply {
                    Ok(reply) => {
                        self.has_succeeded.store(true, Ordering::Relaxed);
                        self.answered(&attempt, None);
                        return Ok(reply);
                    }
                    Err(Failure::Answered(error)) => {
                        self.answered(&attempt, error.wrong_server());
                        return Err(Unanswered::Failed(error));
                    }
                    Err(Failure::Silent(error)) => {
                        self.unanswered(&attempt, sent);
                        return Err(Unanswered::Failed(error));
                    }
                    Err(Failure::Broken(error)) => (error, true),
                }
            }
            Some(Err(error)) => {
                if attempt.is_unsettled() {
                    self.give_up(&attempt, None);
                }
                return Err(Unanswered::Failed(error.never_sent()));
            }
            None => (NodeError::new(NodeErrorKind::Unreachable, "the runtime of the connection is gone"), false),
        };
        self.give_up(&attempt, successor);
        Err(Unanswered::Gone { error, sent })
    }

    /// Returns the connection in use, or a new one. If nothing has been answered over it for the idle limit, also
    /// returns a successor, which all commands share until the connection in use answers.
    fn attempt(&self, now: Instant, connect_timeout: Duration) -> (Attempt<C>, Option<Arc<Successor<C>>>) {
        let start = || Attempt::start(&self.client, connect_timeout, &self.has_tried);
        let mut current = self.current();
        match &mut *current {
            Some(used) if !used.attempt.is_gone() => {
                let is_idle = |limit| now.saturating_duration_since(used.answered) >= limit;
                if used.attempt.is_unsettled() || !self.idle_limit.is_some_and(is_idle) {
                    return (used.attempt.clone(), None);
                }
                let successor = used.successor.upgrade().filter(|successor| !successor.attempt.is_gone());
                let successor = successor.unwrap_or_else(|| Arc::new(Successor { attempt: start(), begun: now }));
                used.successor = Arc::downgrade(&successor);
                (used.attempt.clone(), Some(successor))
            }
            _ => {
                let attempt = start();
                *current = Some(Current::new(attempt.clone(), now));
                (attempt, None)
            }
        }
    }

    /// Returns the answer, unless the successor of the connection takes its place first: the network path may have
    /// forgotten a connection that was idle for long, without reporting it.
    async fn race<A>(
        &self,
        answer: impl Future<Output = Result<A, Failure>>,
        attempt: &Attempt<C>,
        successor: &Successor<C>,
    ) -> Result<A, Failure> {
        let overtaken = async {
            let mut connecting = successor.attempt.clone();
            connecting.connected().await;
            // A path that works is not slower for a command than for a connect, which takes two round trips or more.
            // Sending a command twice is a last resort: the answer to a second release may be unknown.
            sleep((2 * successor.begun.elapsed()).max(OVERTAKEN_AFTER)).await;
            if !self.is_succeeded(attempt, successor) {
                pending().await
            }
        };
        select! {
            biased;
            answer = answer => answer,
            () = overtaken => {
                let text = "no answer over a connection that had been idle";
                Err(Failure::Broken(NodeError::new(NodeErrorKind::Unreachable, text)))
            }
        }
    }

    /// Returns whether the successor may take the place of the connection, or has done so: no command has been answered
    /// over the connection meanwhile.
    fn is_succeeded(&self, attempt: &Attempt<C>, successor: &Successor<C>) -> bool {
        self.current().as_ref().is_some_and(|current| match current.attempt.is(attempt) {
            true => current.successor.as_ptr() == std::ptr::from_ref(successor),
            false => current.attempt.is(&successor.attempt),
        })
    }

    /// Notes an answer, and gives up the connection if the server may be the `wrong` one.
    fn answered(&self, attempt: &Attempt<C>, wrong: Option<WrongServer>) {
        let mut current = self.current();
        let Some(answering) = current.as_mut().filter(|current| current.attempt.is(attempt)) else { return };
        (answering.answered, answering.silent_since, answering.successor) = (Instant::now(), None, Weak::new());
        let is_wrong = match wrong {
            Some(WrongServer::Replica) => true,
            Some(WrongServer::Password) => self.has_succeeded.load(Ordering::Relaxed),
            Some(WrongServer::Loading) => answering.loading_since.get_or_insert_with(Instant::now).elapsed() >= LOADS,
            None => false,
        };
        if wrong != Some(WrongServer::Loading) {
            answering.loading_since = None;
        }
        if is_wrong && answering.made.elapsed() >= answering.stays {
            *current = None;
            self.left.send_replace(());
        }
    }

    fn unanswered(&self, attempt: &Attempt<C>, sent: Instant) {
        let mut current = self.current();
        if let Some(silent) = current.as_mut().filter(|current| current.attempt.is(attempt))
            && silent.silent_since.get_or_insert(sent).elapsed() >= SILENCE
        {
            *current = None;
        }
    }

    /// Gives up a broken connection, unless another command has already replaced it. A successor takes its place,
    /// unless that has failed, too.
    fn give_up(&self, attempt: &Attempt<C>, successor: Option<&Successor<C>>) {
        let mut current = self.current();
        if current.take_if(|current| current.attempt.is(attempt)).is_some() {
            let successor = successor.filter(|successor| !successor.attempt.has_failed());
            *current = successor.map(|Successor { attempt, begun }| Current::new(attempt.clone(), *begun));
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Current<C>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn jitter() -> Duration {
    // Without randomness there is no jitter.
    let random = getrandom::u32().unwrap_or_default();
    JITTER.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl<C: Connect> fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
