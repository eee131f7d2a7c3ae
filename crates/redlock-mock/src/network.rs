//! The network between processes and nodes: how long a message takes, and whether it arrives at all.

use std::time::Duration;

use tokio::time::Instant;

use crate::{clock::later, fault::Fault};

/// How messages travel between a process and a node. Each message travels separately, so they overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Weather {
    /// The minimum and maximum travel time of a request, in milliseconds.
    pub request: (u16, u16),
    /// The minimum and maximum travel time of an answer, in milliseconds.
    pub answer: (u16, u16),
    /// Requests that are lost, per thousand.
    pub lost_requests: u16,
    /// Answers that are lost, per thousand.
    pub lost_answers: u16,
    /// Requests that arrive twice, per thousand. The second copy arrives after the travel time of another request,
    /// because the client sent it over a new connection.
    pub duplicates: u16,
}

/// The effect of a cut on messages in its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cut {
    /// The messages are lost.
    Lost,
    /// The messages arrive when the cut ends, as over a connection that survives it.
    Held,
}

/// The travel times of one message to the node and of its answer back. `None` if it is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journey {
    there: Option<Duration>,
    again: Option<Duration>,
    back: Option<Duration>,
}

impl Journey {
    /// No network in between.
    pub(crate) const NONE: Self = Self { there: Some(Duration::ZERO), again: None, back: Some(Duration::ZERO) };

    pub(crate) fn meet(&mut self, fault: &Fault) {
        match fault {
            Fault::LoseRequest => (self.there, self.again) = (None, None),
            Fault::LoseAnswer => self.back = None,
            Fault::DelayRequest(delay) => self.delay_request(*delay),
            Fault::DelayAnswer(delay) => self.back = self.back.map(|back| back.saturating_add(*delay)),
            Fault::SendAgain(first) if !first.is_zero() => {
                self.again = self.there.map(|way| way.saturating_add(*first))
            }
            _ => {}
        }
    }

    pub(crate) fn delay_request(&mut self, delay: Duration) {
        for way in [&mut self.there, &mut self.again] {
            *way = way.map(|way| way.saturating_add(delay));
        }
    }

    /// Returns when the copies of a request arrive that is sent now.
    pub(crate) fn arrivals(&self, now: Instant) -> impl Iterator<Item = Instant> {
        [self.there, self.again].into_iter().flatten().map(move |way| later(now, way))
    }

    /// Cuts the connection: the request arrives after this delay, if ever, and the answer is lost.
    pub(crate) fn cut(&mut self, arrives: Option<Duration>) {
        *self = Self { there: arrives, again: None, back: None };
    }

    /// Returns whether the request arrives twice.
    pub(crate) fn is_sent_again(&self) -> bool {
        self.again.is_some()
    }

    pub(crate) fn back(&self) -> Option<Duration> {
        self.back
    }
}

/// All links between processes and nodes.
#[derive(Debug)]
pub(crate) struct Network {
    /// For each process, the link to each node.
    links: Vec<Vec<Link>>,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, Default)]
struct Link {
    weather: Weather,
    requests: Cuts,
    answers: Cuts,
}

/// The direction in which messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Requests,
    Answers,
}

/// The times until which messages in one direction are cut off.
#[derive(Debug, Clone, Copy, Default)]
struct Cuts {
    lost: Option<Instant>,
    held: Option<Instant>,
}

impl Cuts {
    /// Returns the effect on a message now, and until when.
    fn at(&self, now: Instant) -> Option<(Cut, Instant)> {
        let lost = self.lost.map(|until| (Cut::Lost, until));
        let held = self.held.map(|until| (Cut::Held, until));
        [lost, held].into_iter().flatten().find(|(_, until)| *until > now)
    }
}

impl Network {
    pub(crate) fn new(nodes: usize, processes: usize, seed: u64) -> Self {
        let links = (0..processes).map(|_| vec![Link::default(); nodes]).collect();
        Self { links, random: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn set_weather(&mut self, process: Option<usize>, node: Option<usize>, weather: Weather) {
        self.links(process, node).for_each(|link| link.weather = weather);
    }

    /// Cuts messages off. An earlier cut that ends later remains.
    pub(crate) fn cut(&mut self, process: usize, node: usize, way: Way, cut: Cut, until: Instant) {
        for link in self.links(Some(process), Some(node)) {
            let cuts = match way {
                Way::Requests => &mut link.requests,
                Way::Answers => &mut link.answers,
            };
            let ends = match cut {
                Cut::Lost => &mut cuts.lost,
                Cut::Held => &mut cuts.held,
            };
            *ends = (*ends).max(Some(until));
        }
    }

    /// Returns the travel times of a request that is sent now.
    pub(crate) fn journey(&mut self, process: usize, node: usize) -> Journey {
        let Some(Link { weather, requests, .. }) = self.links.get(process).and_then(|links| links.get(node)) else {
            return Journey::NONE;
        };
        let random = &mut self.random;
        let mut millis = |(least, most): (u16, u16)| Duration::from_millis(random.u16(least..=most.max(least)).into());
        let (there, again, back) = (millis(weather.request), millis(weather.request), millis(weather.answer));
        let mut happens = |per_mille: u16| per_mille > 0 && random.u16(0..1_000) < per_mille;
        let lost = happens(weather.lost_requests);
        let mut journey = Journey {
            there: (!lost).then_some(there),
            again: happens(weather.duplicates).then_some(there + again).filter(|_| !lost),
            back: (!happens(weather.lost_answers)).then_some(back),
        };
        let now = Instant::now();
        match requests.at(now) {
            None => {}
            Some((Cut::Lost, _)) => (journey.there, journey.again) = (None, None),
            Some((Cut::Held, until)) => journey.delay_request(until.saturating_duration_since(now)),
        }
        journey
    }

    /// Returns when an answer arrives that would arrive now without a cut, if ever.
    pub(crate) fn answer_arrives(&self, process: usize, node: usize) -> Option<Instant> {
        let now = Instant::now();
        match self.links.get(process).and_then(|links| links.get(node)?.answers.at(now)) {
            None => Some(now),
            Some((Cut::Held, until)) => Some(until),
            Some((Cut::Lost, _)) => None,
        }
    }

    /// Returns until when messages in either direction are cut off, if they are.
    pub(crate) fn cut_until(&self, process: usize, node: usize) -> Option<Instant> {
        let now = Instant::now();
        let link = self.links.get(process)?.get(node)?;
        [&link.requests, &link.answers].into_iter().filter_map(|cuts| Some(cuts.at(now)?.1)).max()
    }

    /// Returns a random time of at most this length, in whole milliseconds.
    pub(crate) fn random_delay(&mut self, longest: Duration) -> Duration {
        let longest = longest.as_millis().try_into().unwrap_or(u64::MAX);
        Duration::from_millis(self.random.u64(0..=longest))
    }

    fn links(&mut self, process: Option<usize>, node: Option<usize>) -> impl Iterator<Item = &mut Link> {
        let is = |asked: Option<usize>, place: usize| asked.is_none_or(|asked| asked == place);
        let links = self.links.iter_mut().enumerate().filter(move |(place, _)| is(process, *place));
        let links = links.flat_map(|(_, links)| links.iter_mut().enumerate());
        links.filter(move |(place, _)| is(node, *place)).map(|(_, link)| link)
    }
}
