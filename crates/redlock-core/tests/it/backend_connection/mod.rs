//! The one connection that all commands share: when it is made, made again and abandoned. Tested over a client without
//! a server.

mod idle;

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    LockNode, NodeError, NodeErrorKind, NodeUrlError, Resource,
    backend::{
        Answered, Call, Connect, Connection, Failure, InspectRequest, Node, NodeUrl, RedisClient, Reply, WakeUps,
    },
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, timeout},
};

use crate::support::{ms, poll_in_task};

/// The outcome of one script.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answer,
    Error,
    /// This error reply.
    Replies(&'static str),
    /// No answer within the response timeout.
    Silence,
    /// The answer comes after this time.
    Late(Duration),
    /// The connection breaks.
    Break,
    /// The connection breaks after this time.
    BreakLate(Duration),
}

/// A client of a server with prepared behavior. By default it connects at once and answers at once.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How long connecting takes, and whether it succeeds; `None` never ends.
    connects: Mutex<VecDeque<Option<(Duration, bool)>>>,
    fates: Mutex<VecDeque<Fate>>,
    connected: AtomicUsize,
    sent: AtomicUsize,
    open: Mutex<Vec<Weak<Link>>>,
}

/// One connection of the fake.
#[derive(Debug)]
struct Link {
    state: Arc<State>,
    broken: AtomicUsize,
}

impl Connect for Fake {
    type Connection = Arc<Link>;

    fn connect(&self, _: Duration) -> impl Future<Output = Result<Arc<Link>, NodeError>> + Send + 'static {
        let state = Arc::clone(&self.0);
        state.connected.fetch_add(1, Ordering::SeqCst);
        let plan = state.connects.lock().unwrap().pop_front().unwrap_or(Some((Duration::ZERO, true)));
        async move {
            let Some((takes, succeeds)) = plan else { std::future::pending().await };
            if !takes.is_zero() {
                sleep(takes).await;
            }
            if !succeeds {
                return Err(NodeError::new(NodeErrorKind::Authentication, "WRONGPASS"));
            }
            let link = Arc::new(Link { state: Arc::clone(&state), broken: AtomicUsize::new(0) });
            state.open.lock().unwrap().push(Arc::downgrade(&link));
            Ok(link)
        }
    }

    async fn run(link: Arc<Link>, _: &Call<'_>, response_timeout: Duration) -> Result<Reply, Failure> {
        Self::meet(&link, response_timeout).await.map(|()| Reply::Nothing)
    }

    async fn command(link: Arc<Link>, words: &[&str], response_timeout: Duration) -> Result<Vec<String>, Failure> {
        Self::meet(&link, response_timeout).await?;
        Ok(words.iter().map(|word| word.to_lowercase()).collect())
    }

    fn is_broken(link: &Arc<Link>) -> bool {
        link.broken.load(Ordering::SeqCst) > 0
    }
}

impl Fake {
    /// Carries out the next script or command with its prepared outcome.
    async fn meet(link: &Link, response_timeout: Duration) -> Result<(), Failure> {
        link.state.sent.fetch_add(1, Ordering::SeqCst);
        let fate = link.state.fates.lock().unwrap().pop_front().unwrap_or(Fate::Answer);
        let broken = || Failure::Broken(NodeError::new(NodeErrorKind::Unreachable, "reset"));
        match fate {
            Fate::Answer => Ok(()),
            Fate::Error => Err(Failure::Answered(NodeErrorKind::WrongType.into())),
            Fate::Replies(text) => {
                let error = NodeError::new(NodeErrorKind::of_reply(text), text);
                Err(Failure::Answered(error.with_reply(text)))
            }
            Fate::Silence => {
                sleep(response_timeout).await;
                Err(Failure::Silent(NodeError::no_answer(response_timeout)))
            }
            Fate::Late(after) => {
                sleep(after).await;
                Ok(())
            }
            Fate::Break => Err(broken()),
            Fate::BreakLate(after) => {
                sleep(after).await;
                Err(broken())
            }
        }
    }

    fn connects(&self, plans: impl IntoIterator<Item = Option<(Duration, bool)>>) {
        self.0.connects.lock().unwrap().extend(plans);
    }

    fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.0.fates.lock().unwrap().extend(fates);
    }

    /// Returns how many connections were started, and how many scripts were sent.
    fn counts(&self) -> (usize, usize) {
        (self.0.connected.load(Ordering::SeqCst), self.0.sent.load(Ordering::SeqCst))
    }

    fn open(&self) -> Vec<Arc<Link>> {
        self.0.open.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Wraps a connection into a node, so that tests can make calls.
struct Client(Connection<Fake>);

impl RedisClient for Client {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        Err(url.rejected("a fake has no address"))
    }

    fn name(&self) -> &str {
        "fake"
    }

    fn is_new(&self) -> bool {
        self.0.is_new()
    }

    async fn call(&self, call: &Call<'_>, connect: Duration, response: Duration) -> Result<Answered, NodeError> {
        let answered = self.0.call(call, connect, response).await?;
        // The reply carries `sent_again`, because an inspect does not report it.
        let told = Reply::Holder(vec![answered.sent_again.into()], -1);
        Ok(Answered { reply: told, ..answered })
    }
}

impl From<Connection<Fake>> for Client {
    fn from(connection: Connection<Fake>) -> Self {
        Self(connection)
    }
}

fn node(fake: &Fake) -> Node<Client> {
    // These tests are about the connection, so one operation may take as long as a test needs.
    Node::new(Connection::new(fake.clone())).with_connect_timeout(ms(60_000))
}

/// Sends a script. Returns whether it was sent again, or the kind of error.
async fn call(node: &Node<Client>) -> Result<bool, NodeErrorKind> {
    let request = InspectRequest::new(Resource::new("r").unwrap());
    let answer = node.inspect(&request).await.map_err(|error| error.kind())?;
    Ok(format!("{answer:?}").contains("token: [1]"))
}

#[tokio::test(start_paused = true)]
async fn the_first_command_connects_and_all_share_the_connection() {
    let fake = Fake::default();
    let node = node(&fake);
    assert_eq!(fake.counts(), (0, 0));
    for _ in 0..3 {
        assert_eq!(call(&node).await, Ok(false));
    }
    assert_eq!(fake.counts(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn commands_sent_while_it_connects_wait_for_the_same_connection() {
    let fake = Fake::default();
    fake.connects([Some((ms(70), true))]);
    let node = node(&fake);
    let start = Instant::now();
    let all = tokio::join!(call(&node), call(&node), call(&node));
    assert_eq!(all, (Ok(false), Ok(false), Ok(false)));
    assert_eq!((fake.counts(), start.elapsed()), ((1, 3), ms(70)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_fails_all_waiting_commands_and_one_10_ms_later_tries_again() {
    let fake = Fake::default();
    fake.connects([Some((ms(70), false)), Some((Duration::ZERO, false))]);
    let node = node(&fake);
    let failed = Err(NodeErrorKind::Authentication);
    for tried in [1, 2] {
        assert_eq!(tokio::join!(call(&node), call(&node)), (failed, failed));
        assert_eq!(fake.counts(), (tried, 0));
        // A node that is down costs no time for calls that follow immediately.
        sleep(ms(9)).await;
        assert_eq!(call(&node).await, failed);
        assert_eq!(fake.counts(), (tried, 0));
        sleep(ms(1)).await;
    }
    assert_eq!(call(&node).await, Ok(false));
    assert_eq!(fake.counts(), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_again_once_and_the_script_is_sent_again() {
    let fake = Fake::default();
    let node = node(&fake);
    fake.fates([Fate::Break]);
    assert_eq!(call(&node).await, Ok(true), "the answer reports that it was sent again");
    assert_eq!(fake.counts(), (2, 2));
    fake.fates([Fate::Break, Fate::Break]);
    assert_eq!(call(&node).await, Err(NodeErrorKind::Unreachable));
    assert_eq!(fake.counts(), (3, 4));
    assert_eq!(call(&node).await, Ok(false));
    assert_eq!(fake.counts(), (4, 5));
}

#[tokio::test(start_paused = true)]
async fn a_plain_command_shares_the_connection_and_is_sent_again_when_it_breaks() {
    let fake = Fake::default();
    let connection = Connection::new(fake.clone());
    let ask = async || connection.command(&["CONFIG", "GET", "save"], ms(60_000), ms(100)).await;
    assert_eq!(ask().await.unwrap(), ["config", "get", "save"]);
    fake.fates([Fate::Break]);
    ask().await.unwrap();
    assert_eq!(fake.counts(), (2, 3));
    for (fate, kind) in [(Fate::Error, NodeErrorKind::WrongType), (Fate::Silence, NodeErrorKind::Timeout)] {
        fake.fates([fate]);
        assert_eq!(ask().await.unwrap_err().kind(), kind);
    }
    fake.fates([Fate::Break, Fate::Break]);
    assert_eq!(ask().await.unwrap_err().kind(), NodeErrorKind::Unreachable);
    assert_eq!(fake.counts(), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_known_to_be_broken_is_not_used() {
    let fake = Fake::default();
    let node = node(&fake);
    call(&node).await.unwrap();
    fake.open()[0].broken.store(1, Ordering::SeqCst);
    assert_eq!(call(&node).await, Ok(false));
    assert_eq!(fake.counts(), (2, 2));
}

#[test]
fn a_client_that_cannot_detect_a_broken_connection_counts_as_connected() {
    /// Implements only the required methods.
    struct Least;

    impl Connect for Least {
        type Connection = ();

        fn connect(&self, _: Duration) -> impl Future<Output = Result<(), NodeError>> + Send + 'static {
            std::future::ready(Ok(()))
        }

        async fn run((): (), _: &Call<'_>, _: Duration) -> Result<Reply, Failure> {
            Ok(Reply::Nothing)
        }
    }

    assert!(!Least::is_broken(&()));
}

#[tokio::test(start_paused = true)]
async fn an_error_reply_is_an_answer_and_keeps_the_connection() {
    let fake = Fake::default();
    let node = node(&fake);
    fake.fates([Fate::Error]);
    assert_eq!(call(&node).await, Err(NodeErrorKind::WrongType));
    call(&node).await.unwrap();
    assert_eq!(fake.counts(), (1, 2));
}

/// Counts the connections made within five seconds while all commands get this reply, after one that succeeds if
/// `succeeds`.
async fn connections(reply: &'static str, succeeds: bool) -> usize {
    let fake = Fake::default();
    let node = node(&fake);
    if succeeds {
        call(&node).await.unwrap();
    }
    fake.fates([Fate::Replies(reply); 20]);
    for _ in 0..20 {
        assert_eq!(call(&node).await, Err(NodeErrorKind::of_reply(reply)));
        sleep(ms(250)).await;
    }
    fake.counts().0
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_a_possibly_wrong_server_is_replaced_at_most_once_a_second() {
    for (reply, succeeds, connected) in [
        // It is abandoned after 1000 to 1250 ms, and the next connection is made 250 ms later.
        ("READONLY You can't write against a read only replica.", false, 4),
        ("MASTERDOWN Link with MASTER is down", false, 4),
        ("NOAUTH Authentication required.", true, 4),
        // A password that was never accepted does not indicate another server.
        ("NOAUTH Authentication required.", false, 1),
        // After three seconds.
        ("LOADING Redis is loading the dataset in memory", true, 2),
        ("MISCONF Redis is configured to save RDB snapshots", true, 1),
        ("NOREPLICAS Not enough good replicas to write.", true, 1),
        ("BUSY Redis is busy running a script.", true, 1),
        ("NOPERM this user has no permissions", true, 1),
        ("OOM command not allowed", true, 1),
    ] {
        assert_eq!(connections(reply, succeeds).await, connected, "{reply}");
    }
}

/// Wake-ups that never come.
struct Nothing;

#[async_trait]
impl WakeUps for Nothing {
    async fn next(&mut self) -> Option<Vec<u8>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_its_server_is_abandoned_as_the_wrong_one() {
    let fake = Fake::default();
    let connection = Connection::new(fake.clone());
    let mut listening = connection.listen(async { Ok(Nothing) }).await.unwrap();
    let mut ends = async || timeout(ms(10), listening.next()).await.is_ok_and(|message| message.is_none());
    for (reply, has_ended) in [("READONLY", false), ("BUSY", false), ("READONLY", true)] {
        fake.fates([Fate::Replies(reply)]);
        connection.command(&["TIME"], ms(1000), ms(1000)).await.unwrap_err();
        assert_eq!(ends().await, has_ended, "{reply}");
        sleep(ms(1250)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_a_server_that_loads_its_data_briefly_is_kept() {
    let fake = Fake::default();
    let node = node(&fake);
    for _ in 0..4 {
        fake.fates([Fate::Replies("LOADING Redis is loading the dataset in memory"); 8]);
        for _ in 0..8 {
            call(&node).await.unwrap_err();
            sleep(ms(250)).await;
        }
        call(&node).await.unwrap();
    }
    assert_eq!(fake.counts().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_new_until_the_first_one_was_made_or_has_failed() {
    for succeeds in [true, false] {
        let fake = Fake::default();
        fake.connects([Some((ms(70), succeeds))]);
        let node = node(&fake);
        let is_new = || node.connects_within() == Some(ms(60_000));
        assert!(is_new());
        let calling = tokio::spawn({
            let node = node.clone();
            async move { call(&node).await }
        });
        sleep(ms(69)).await;
        assert!(is_new());
        assert_eq!(calling.await.unwrap().is_ok(), succeeds);
        assert_eq!(node.connects_within(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_nothing_for_two_seconds_is_abandoned() {
    let fake = Fake::default();
    let node = node(&fake).with_response_timeout(ms(999));
    fake.fates([Fate::Silence; 3]);
    let silent = Err(NodeErrorKind::Timeout);
    assert_eq!(call(&node).await, silent);
    assert_eq!(call(&node).await, silent);
    assert_eq!(fake.counts().0, 1, "not yet: 1998 ms");
    assert_eq!(call(&node).await, silent);
    tokio::task::yield_now().await;
    assert_eq!(fake.open().len(), 0, "closed");
    call(&node).await.unwrap();
    assert_eq!(fake.counts(), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_abandoned_after_exactly_two_seconds_of_silence() {
    let fake = Fake::default();
    let node = node(&fake).with_response_timeout(ms(1_000));
    fake.fates([Fate::Silence; 2]);
    call(&node).await.unwrap_err();
    call(&node).await.unwrap_err();
    call(&node).await.unwrap();
    assert_eq!(fake.counts().0, 2);
}

#[tokio::test(start_paused = true)]
async fn any_answer_ends_a_silence() {
    let fake = Fake::default();
    let node = node(&fake).with_response_timeout(ms(1_500));
    for answer in [Fate::Answer, Fate::Error] {
        fake.fates([Fate::Silence, answer]);
        call(&node).await.unwrap_err();
        let _ = call(&node).await;
    }
    fake.fates([Fate::Silence]);
    call(&node).await.unwrap_err();
    call(&node).await.unwrap();
    assert_eq!(fake.counts().0, 1);
}

/// Breaks the first connection under one command while another is still in flight on it. The second connection exists
/// when that command ends.
async fn outlived(late: Fate, meanwhile: &[Fate]) -> (Fake, Node<Client>) {
    let fake = Fake::default();
    let node = node(&fake).with_response_timeout(ms(1_500));
    fake.fates([late, Fate::Break]);
    fake.fates(meanwhile.iter().copied());
    let (_, ()) = tokio::join!(call(&node), async {
        let _ = call(&node).await;
        for _ in meanwhile.iter().skip(1) {
            let _ = call(&node).await;
        }
    });
    (fake, node)
}

#[tokio::test(start_paused = true)]
async fn the_fate_of_an_old_connection_does_not_affect_the_new_one() {
    // It breaks after the new one was made: the command is sent over the new one, which stays.
    let (fake, node) = outlived(Fate::BreakLate(ms(100)), &[Fate::Answer]).await;
    call(&node).await.unwrap();
    assert_eq!(fake.counts().0, 2, "broken");

    // It is silent: the silence of the new one starts with its own commands.
    let (fake, node) = outlived(Fate::Silence, &[Fate::Answer]).await;
    fake.fates([Fate::Silence]);
    call(&node).await.unwrap_err();
    call(&node).await.unwrap();
    assert_eq!(fake.counts().0, 2, "silent");

    // It answers after all, which is not an answer over the new one.
    let (fake, node) = outlived(Fate::Late(ms(1_600)), &[Fate::Silence]).await;
    fake.fates([Fate::Silence]);
    call(&node).await.unwrap_err();
    call(&node).await.unwrap();
    assert_eq!(fake.counts().0, 3, "answered");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_its_last_node_is_dropped() {
    let fake = Fake::default();
    let node = node(&fake);
    call(&node).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(fake.open().len(), 1);
    let clone = node.clone();
    drop(node);
    tokio::task::yield_now().await;
    assert_eq!(fake.open().len(), 1, "a clone holds it");
    drop(clone);
    tokio::task::yield_now().await;
    assert_eq!(fake.open().len(), 0);
}

#[test]
fn a_connection_whose_runtime_has_ended_is_made_again() {
    let fake = Fake::default();
    let node = node(&fake);
    for connected in 1..=3 {
        let runtime = Runtime::new().unwrap();
        for _ in 0..2 {
            assert_eq!(runtime.block_on(call(&node)), Ok(false));
        }
        assert_eq!(fake.counts().0, connected);
    }
}

#[test]
fn a_runtime_that_stalls_while_it_connects_delays_only_one_command_of_another_runtime() {
    let fake = Fake::default();
    let node = node(&fake);
    let [still, runs] = [false, true]
        .map(|is_paused| Builder::new_current_thread().enable_all().start_paused(is_paused).build().unwrap());
    still.block_on(async {
        let mut begun = pin!(call(&node));
        assert!(poll_in_task(begun.as_mut()).await.is_pending());
    });
    runs.block_on(async {
        assert_eq!(call(&node).await, Err(NodeErrorKind::Timeout));
        assert_eq!(call(&node).await, Ok(false));
    });
    assert_eq!(fake.counts(), (2, 1));
}

#[test]
fn a_runtime_that_ends_while_it_connects_does_not_count_as_a_failure_of_the_node() {
    let fake = Fake::default();
    fake.connects([None]);
    let node = node(&fake);
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let begun = node.clone();
    first.spawn(async move { call(&begun).await });
    while fake.counts().0 == 0 {
        std::thread::yield_now();
    }
    second.block_on(async {
        let mut waiting = pin!(call(&node));
        assert!(poll_in_task(waiting.as_mut()).await.is_pending());
        first.shutdown_background();
        assert_eq!(waiting.await, Ok(false), "and nothing was sent twice");
    });
    assert_eq!(fake.counts(), (2, 1));
}

#[test]
fn the_debug_output_shows_nothing_of_the_client() {
    assert_eq!(format!("{:?}", Connection::new(Fake::default())), "Connection { .. }");
}
