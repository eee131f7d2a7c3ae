//! The members of a Redis Cluster: a connection to each, and which member has a key.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Answered, Call, Connect, Connection, NodeUrl,
    connect::ClientAt,
    in_flight::InFlight,
    slot_answers::SlotAnswers,
    slot_map::{Member, MemberIds, SlotMap},
};
use crate::{
    names::hash_slot,
    node::{NodeError, NodeErrorKind, Redirect},
};

/// Maximum number of redirects of one call. A slot that moves redirects it once, or twice if the map is outdated.
const REDIRECTS: usize = 4;

/// Minimum time between two queries of the members about their slots.
const ASKED_AGAIN: Duration = Duration::from_millis(250);

/// Maximum number of members queried at the same time. The first good answer counts, so a hung member delays only the
/// first query of a process, by [`TOGETHER`].
const AT_ONCE: usize = 8;

/// How long after the first answer of a cluster the answers of the other members in the URL are still compared with it.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long a map of a member that may not know better is held back for a better one.
const BETTER: Duration = Duration::from_millis(250);

/// Connections to the members of one Redis Cluster. Each one is made when it is first needed.
///
/// A call goes to the member that owns the hash slot of its keys, and follows `MOVED` and `ASK`. If a member cannot be
/// reached, only calls for its slots fail, until a replica has taken its place; the connections to the other members
/// stay.
pub struct Cluster<C: Connect> {
    seeds: Vec<Member>,
    client: Box<ClientAt<C>>,
    by_name: bool,
    idle_limit: Option<Duration>,
    /// Locked only to read or change the state, never across an `await`.
    known: Mutex<Known<C>>,
    /// Held while the members are queried about the slots.
    asking: tokio::sync::Mutex<()>,
}

struct Known<C: Connect> {
    members: HashMap<Member, Arc<Linked<C>>>,
    slots: Option<SlotMap>,
    /// The members' IDs. The map may be of another cluster, which is used while no known member answers.
    ids: Option<MemberIds>,
    /// The member that has answered `CLUSTERDOWN`: it may be cut off from the others, and unaware of a failover.
    down: Option<Member>,
    /// Whether the slots may have moved since the map was read.
    is_doubtful: bool,
    /// When the members were last queried.
    asked: Option<Instant>,
}

/// The connection to a member, and the requests to it that are in flight.
struct Linked<C: Connect> {
    connection: Connection<C>,
    in_flight: InFlight,
}

impl<C: Connect> Cluster<C> {
    /// Creates a cluster from at least some of its members, each given as host and port. `client` creates the client of
    /// one member. With `by_name`, members that announce a host name are reached by it: over TLS, the certificate is
    /// checked against it.
    pub fn new(
        seeds: impl IntoIterator<Item = (String, u16)>,
        by_name: bool,
        client: impl Fn(&str, u16) -> C + Send + Sync + 'static,
    ) -> Self {
        let known =
            Known { members: HashMap::new(), slots: None, ids: None, down: None, is_doubtful: false, asked: None };
        Self {
            seeds: seeds.into_iter().map(|(host, port)| Member { host, port }).collect(),
            client: Box::new(client),
            by_name,
            idle_limit: Some(NodeUrl::DEFAULT_IDLE_LIMIT),
            known: Mutex::new(known),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Sets the idle limit of the connection to each member: see [`Connection::with_idle_limit`].
    #[must_use]
    pub fn with_idle_limit(self, idle_limit: Option<Duration>) -> Self {
        Self { idle_limit, ..self }
    }

    /// Returns whether no member has been queried yet.
    pub fn is_new(&self) -> bool {
        self.known().asked.is_none()
    }

    /// Runs a script, or the plain command of a [`Call`] without a script, on the member that owns its keys. Ends
    /// within the sum of both timeouts.
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
        let bound = connect_timeout.saturating_add(response_timeout);
        // Boxed so that calls to plain nodes stay small.
        let called = timeout(bound, Box::pin(self.call_member(call, connect_timeout, response_timeout))).await;
        called.unwrap_or_else(|_| Err(NodeError::no_answer(bound)))
    }

    async fn call_member(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let slot = call.keys().next().map_or(0, |key| hash_slot(key.as_str()));
        let mut member = self.owner(slot, connect_timeout, response_timeout).await?;
        let (mut asks, mut sent_before, mut last) = (false, false, None);
        for _ in 0..REDIRECTS {
            let linked = self.linked(&member);
            let answered = match (linked.in_flight.enter(), asks) {
                (Ok(request), false) => {
                    request.end(linked.connection.call(call, connect_timeout, response_timeout).await)
                }
                (Ok(request), true) => {
                    request.end(linked.connection.call_asking(call, connect_timeout, response_timeout).await)
                }
                (Err(error), _) => Err(error),
            };
            let error = match answered {
                Ok(answered) => return Ok(Answered { sent_again: answered.sent_again || sent_before, ..answered }),
                Err(error) => error,
            };
            let next = match error.redirect() {
                Some(redirect) => {
                    let next = self.target(redirect, &member);
                    asks = redirect.asks;
                    if !asks {
                        self.moved(slot, &next);
                    }
                    sent_before |= error.is_of_second_copy();
                    next
                }
                None => {
                    self.note(&member, &error);
                    if error.kind() != NodeErrorKind::Unreachable {
                        return Err(error.after(sent_before));
                    }
                    sent_before |= !error.was_never_sent();
                    let next = self.owner(slot, connect_timeout, response_timeout).await;
                    match next.ok().filter(|next| *next != member || asks) {
                        Some(next) => {
                            (asks, last) = (false, Some(error));
                            next
                        }
                        None => return Err(error.after(sent_before)),
                    }
                }
            };
            member = next;
        }
        let circle = || NodeError::new(NodeErrorKind::Other, "the members of the cluster redirect to each other");
        Err(last.unwrap_or_else(circle).after(sent_before))
    }

    /// Sends a plain command to the primary of hash slot 0, like [`RedisClient::command`](super::RedisClient::command).
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
        let bound = connect_timeout.saturating_add(response_timeout);
        let commanded = async {
            let member = self.owner(0, connect_timeout, response_timeout).await?;
            let answer = self.linked(&member).connection.command(words, connect_timeout, response_timeout).await;
            answer.inspect_err(|error| self.note(&member, error))
        };
        timeout(bound, Box::pin(commanded)).await.unwrap_or_else(|_| Err(NodeError::no_answer(bound)))
    }

    /// Sends a plain command to one member, like [`RedisClient::command_at`](super::RedisClient::command_at).
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or the answer is an error.
    pub async fn command_at(
        &self,
        host: &str,
        port: u16,
        words: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Vec<String>, NodeError> {
        let member = match host {
            // A cluster with a single member, which does not know its own address.
            "" => self.owner(0, connect_timeout, response_timeout).await?,
            host => self.known().by_name(Member::new(host, port)),
        };
        self.linked(&member).connection.command(words, connect_timeout, response_timeout).await
    }

    /// Returns the member that owns the slot, as far as known. Queries the members if that is in doubt.
    async fn owner(
        &self,
        slot: u16,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Member, NodeError> {
        let known = self.known().owner(slot);
        if let Some(owner) = &known
            && !self.known().is_due(slot)
        {
            return Ok(owner.clone());
        }
        let asking = match &known {
            // Another call is already querying the members.
            Some(owner) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(owner.clone()),
            },
            None => self.asking.lock().await,
        };
        // Another call may have queried the members meanwhile.
        let is_due = self.known().is_due(slot);
        let asked = match is_due {
            true => self.ask_members(connect_timeout, response_timeout).await,
            false => Ok(()),
        };
        drop(asking);
        match (self.known().owner(slot), asked) {
            (Some(owner), _) => Ok(owner),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => {
                let text = format!("CLUSTERDOWN no member of the cluster has hash slot {slot}");
                Err(NodeError::new(NodeErrorKind::Other, text).never_sent())
            }
        }
    }

    /// Reads which member owns which slots from the first good answer. The first time, the other members of the URL may
    /// answer for [`TOGETHER`] longer: if one belongs to another cluster, the URL is wrong.
    async fn ask_members(&self, connect_timeout: Duration, response_timeout: Duration) -> Result<(), NodeError> {
        let members = self.known().members(&self.seeds);
        let is_first = self.known().slots.is_none();
        let asked = stream::iter(members).map(async |member| {
            let linked = self.linked(&member);
            let nodes = linked.connection.command(&["CLUSTER", "NODES"], connect_timeout, response_timeout).await?;
            Ok((member, nodes.concat()))
        });
        let mut asked = Box::pin(asked.buffer_unordered(AT_ONCE));
        let (mut answers, mut until) = (SlotAnswers::default(), None);
        loop {
            let answer = match until {
                None => asked.next().await,
                Some(until) => timeout_at(until, asked.next()).await.ok().flatten(),
            };
            match answer {
                Some(Ok((member, nodes))) => {
                    let slots = SlotMap::read(&nodes, &member.host, self.by_name);
                    let known = self.known();
                    let is_down = known.down.as_ref() == Some(&member);
                    let counted = answers.count(member, slots, known.ids.as_ref(), is_down);
                    drop(known);
                    if let Err(error) = counted {
                        answers = SlotAnswers::default();
                        answers.failed(error);
                        break;
                    }
                }
                Some(Err(error)) => answers.failed(error),
                None => break,
            }
            if answers.are_enough() {
                if !is_first {
                    break;
                }
                until.get_or_insert_with(|| Instant::now() + TOGETHER);
            } else if answers.are_useful() {
                until.get_or_insert_with(|| Instant::now() + BETTER);
            }
        }
        self.known().asked = Some(Instant::now());
        let (slots, is_of_another) = answers.best().map_err(NodeError::never_sent)?;
        self.learn(slots, is_of_another);
        Ok(())
    }

    fn learn(&self, slots: SlotMap, is_of_another: bool) {
        let mut known = self.known();
        if !is_of_another {
            known.ids = Some(slots.ids().clone());
        }
        let stays = |one: &Member| self.seeds.contains(one) || slots.owners().contains(one);
        known.members.retain(|one, _| stays(one));
        (known.slots, known.is_doubtful, known.down) = (Some(slots), false, None);
    }

    /// Notes an error of a member that may have been replaced by another one.
    fn note(&self, member: &Member, error: &NodeError) {
        use NodeErrorKind::{Loading, Other, ReadOnly, Timeout, Unreachable};
        let mut known = self.known();
        known.is_doubtful |= matches!(error.kind(), Loading | Other | ReadOnly | Timeout | Unreachable);
        if error.chain().contains("CLUSTERDOWN") {
            known.down = Some(member.clone());
        }
    }

    /// Returns the member that a redirect names, by the name under which it is known.
    fn target(&self, redirect: &Redirect, from: &Member) -> Member {
        let host = if redirect.host.is_empty() { &from.host } else { &redirect.host };
        self.known().by_name(Member::new(host, redirect.port))
    }

    fn moved(&self, slot: u16, owner: &Member) {
        let mut known = self.known();
        known.is_doubtful = true;
        if let Some(slots) = &mut known.slots {
            slots.moved(slot, owner);
        }
    }

    fn linked(&self, member: &Member) -> Arc<Linked<C>> {
        let mut known = self.known();
        if let Some(linked) = known.members.get(member) {
            return Arc::clone(linked);
        }
        let connection = Connection::new((self.client)(&member.host, member.port)).with_idle_limit(self.idle_limit);
        let linked = Arc::new(Linked { connection, in_flight: InFlight::new() });
        known.members.insert(member.clone(), Arc::clone(&linked));
        linked
    }

    fn known(&self) -> MutexGuard<'_, Known<C>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connect> Known<C> {
    fn owner(&self, slot: u16) -> Option<Member> {
        self.slots.as_ref()?.owner(slot).cloned()
    }

    /// Returns whether to query the members for the owner of the slot.
    fn is_due(&self, slot: u16) -> bool {
        match (&self.slots, self.asked) {
            (None, _) | (_, None) => true,
            (Some(slots), Some(asked)) => {
                (self.is_doubtful || slots.owner(slot).is_none()) && asked.elapsed() >= ASKED_AGAIN
            }
        }
    }

    /// Returns the member, by its host name if it has announced one.
    fn by_name(&self, member: Member) -> Member {
        self.slots.as_ref().and_then(|slots| slots.named(&member)).cloned().unwrap_or(member)
    }

    /// Returns all known members, each once, alternating between those of the map and those of the URL: all members of
    /// one kind may be gone, and only some are queried at the same time.
    fn members(&self, seeds: &[Member]) -> Vec<Member> {
        let owners = self.slots.as_ref().map(SlotMap::owners).unwrap_or_default();
        let mut members = Vec::with_capacity(owners.len() + seeds.len());
        for index in 0..owners.len().max(seeds.len()) {
            for member in [owners.get(index), seeds.get(index)].into_iter().flatten() {
                if !members.contains(member) {
                    members.push(member.clone());
                }
            }
        }
        members
    }
}

impl<C: Connect> fmt::Debug for Cluster<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client's own output may hold a password.
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}
