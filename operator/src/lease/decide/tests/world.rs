//! The simulation: a server that keeps one Lease, candidates with clocks of their own, and what lies between them.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

/// What goes wrong, as chances from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) loss: f64,
    pub(super) delay: f64,
    pub(super) stall: f64,
    pub(super) crash: f64,
    pub(super) resign: f64,
}

impl Faults {
    pub(super) const NONE: Self =
        Self { loss: 0.0, delay: 0.0, stall: 0.0, crash: 0.0, resign: 0.0 };
    pub(super) const MANY: Self =
        Self { loss: 0.15, delay: 0.1, stall: 0.03, crash: 0.005, resign: 0.01 };
}

#[derive(Debug)]
struct Process {
    candidate: Candidate,
    name: String,
    /// How fast its clock goes, 0.9 to 1.1.
    rate: f64,
    offset: Duration,
    /// The request that it waits for.
    pending: Option<(u64, Request, Instant)>,
    stalled_until: Duration,
    /// Told apart from the one that was killed before.
    incarnation: u64,
}

#[derive(Debug, Clone)]
enum Request {
    Read,
    Write(Write),
}

#[derive(Debug, Clone)]
enum Reply {
    Read(Option<Observed>),
    Written(Answer),
}

#[derive(Debug, Clone)]
enum Event {
    Wake {
        process: usize,
        incarnation: u64,
    },
    /// A request reaches the server.
    Arrive {
        process: usize,
        id: u64,
        request: Request,
    },
    Answer {
        process: usize,
        id: u64,
        reply: Reply,
    },
    GiveUp {
        process: usize,
        id: u64,
    },
}

/// Everything. Times are true ones, from the begin.
#[derive(Debug)]
pub(super) struct World {
    pub(super) faults: Faults,
    /// The terms of all leaders, in the order in which they came to lead.
    pub(super) terms: Vec<u64>,
    origin: Instant,
    now: Duration,
    random: Rng,
    processes: Vec<Process>,
    events: BTreeMap<(Duration, u64), Event>,
    count: u64,
    lease: Option<Record>,
    version: u64,
    last_leader: Option<(usize, u64, u64)>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = Rng::with_seed(seed);
        let processes = (0..random.usize(2..=3)).map(|index| {
            let name = format!("operator-{index}");
            Process {
                candidate: candidate(&name),
                name,
                rate: 0.9 + 0.2 * random.f64(),
                offset: Duration::from_secs(random.u64(0..1_000_000)),
                pending: None,
                stalled_until: Duration::ZERO,
                incarnation: 0,
            }
        });
        let processes: Vec<_> = processes.collect();
        let mut world = Self {
            faults,
            terms: Vec::new(),
            origin: Instant::now(),
            now: Duration::ZERO,
            random,
            processes,
            events: BTreeMap::new(),
            count: 0,
            lease: None,
            version: 0,
            last_leader: None,
        };
        for process in 0..world.processes.len() {
            world.after(Duration::ZERO, Event::Wake { process, incarnation: 0 });
        }
        world
    }

    /// Lets `time` pass, and looks after every event at who leads.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((&key, _)) = self.events.first_key_value() {
            let (at, _) = key;
            if at > end {
                break;
            }
            let Some(event) = self.events.remove(&key) else { break };
            self.now = at;
            self.apply(event);
            self.check();
        }
        self.now = end;
        self.check();
    }

    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.processes.len()).find(|process| self.term_of(*process).is_some())
    }

    fn term_of(&self, process: usize) -> Option<u64> {
        let local = self.local(process);
        self.processes[process].candidate.leading(local).map(|(term, _)| term)
    }

    fn check(&mut self) {
        let leaders: Vec<(usize, u64)> = (0..self.processes.len())
            .filter_map(|process| Some((process, self.term_of(process)?)))
            .collect();
        assert!(leaders.len() <= 1, "two lead at {:?}: {leaders:?}", self.now);
        let Some(&(process, term)) = leaders.first() else { return };
        let leader = (process, self.processes[process].incarnation, term);
        if self.last_leader != Some(leader) {
            let highest = self.terms.last().copied().unwrap_or(0);
            assert!(term > highest, "{leader:?} leads after {:?}", self.last_leader);
            self.terms.push(term);
            self.last_leader = Some(leader);
        }
    }

    fn local(&self, process: usize) -> Instant {
        let Process { rate, offset, .. } = &self.processes[process];
        self.origin + *offset + self.now.mul_f64(*rate)
    }

    /// The wall clock of a process, which is as wrong as it likes.
    fn wall(&self, process: usize) -> i64 {
        (self.now.as_micros() as i64) - (self.processes[process].offset.as_micros() as i64)
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.count += 1;
        self.events.insert((self.now + delay, self.count), event);
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.random.f64() < chance
    }

    fn way(&mut self) -> Duration {
        if self.chance(self.faults.delay) {
            Duration::from_millis(self.random.u64(100..40_000))
        } else {
            Duration::from_micros(self.random.u64(100..50_000))
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Arrive { process, id, request } => {
                let reply = self.serve(request);
                if !self.chance(self.faults.loss) {
                    let way = self.way();
                    self.after(way, Event::Answer { process, id, reply });
                }
            }
            Event::Wake { process, .. }
            | Event::Answer { process, .. }
            | Event::GiveUp { process, .. }
                if self.processes[process].stalled_until > self.now =>
            {
                let rest = self.processes[process].stalled_until.saturating_sub(self.now);
                self.after(rest, event);
            }
            Event::Wake { process, incarnation } => {
                let own = &self.processes[process];
                if own.incarnation == incarnation && own.pending.is_none() {
                    self.act(process);
                }
            }
            Event::Answer { process, id, reply } => self.take_in(process, id, Some(reply)),
            Event::GiveUp { process, id } => self.take_in(process, id, None),
        }
    }

    fn serve(&mut self, request: Request) -> Reply {
        match request {
            Request::Read => Reply::Read(
                self.lease
                    .clone()
                    .map(|record| Observed { record, lease: lease(&self.version.to_string()) }),
            ),
            Request::Write(write) => {
                let there = self.lease.is_some().then(|| self.version.to_string());
                if write.over != there {
                    return Reply::Written(Answer::Refused);
                }
                self.lease = Some(write.record);
                self.version += 1;
                Reply::Written(Answer::Written(lease(&self.version.to_string())))
            }
        }
    }

    fn take_in(&mut self, process: usize, id: u64, reply: Option<Reply>) {
        let local = self.local(process);
        let own = &mut self.processes[process];
        let Some((_, request, sent)) = own.pending.take_if(|(pending, ..)| *pending == id) else {
            return;
        };
        match (request, reply) {
            (Request::Read, Some(Reply::Read(seen))) => own.candidate.read(seen, local),
            (Request::Write(write), Some(Reply::Written(answer))) => {
                own.candidate.answered(write, sent, answer, local);
            }
            (Request::Write(write), _) => {
                own.candidate.answered(write, sent, Answer::Unknown, local);
            }
            (Request::Read, _) => own.candidate.unread(local),
        }
        self.act(process);
    }

    fn act(&mut self, process: usize) {
        if self.chance(self.faults.stall) {
            let stall = Duration::from_millis(self.random.u64(100..30_000));
            self.processes[process].stalled_until = self.now + stall;
        }
        if self.chance(self.faults.crash) {
            return self.restart(process);
        }
        let (local, wall) = (self.local(process), self.wall(process));
        let resigns = self.chance(self.faults.resign);
        let own = &mut self.processes[process];
        if resigns && let Some(write) = own.candidate.resign(local, wall) {
            let way = self.way();
            self.after(way, Event::Arrive { process, id: 0, request: Request::Write(write) });
            return self.restart(process);
        }
        let request = match own.candidate.step(local, wall) {
            Step::Wait(until) => {
                let wait = until.saturating_duration_since(local).div_f64(own.rate);
                let incarnation = own.incarnation;
                let wake = Event::Wake { process, incarnation };
                return self.after(wait + Duration::from_micros(1), wake);
            }
            Step::Read => Request::Read,
            Step::Write(write) => Request::Write(write),
        };
        self.send(process, request, local);
    }

    fn send(&mut self, process: usize, request: Request, local: Instant) {
        self.count += 1;
        let (id, rate) = (self.count, self.processes[process].rate);
        self.processes[process].pending = Some((id, request.clone(), local));
        let patience = Timing::default().request.div_f64(rate);
        self.after(patience, Event::GiveUp { process, id });
        if !self.chance(self.faults.loss) {
            let way = self.way();
            self.after(way, Event::Arrive { process, id, request });
        }
    }

    /// The process is gone; another one comes up under the same name, or under a new one.
    fn restart(&mut self, process: usize) {
        let same_name = self.random.bool();
        let away = Duration::from_millis(self.random.u64(10..20_000));
        let own = &mut self.processes[process];
        own.incarnation += 1;
        own.pending = None;
        if !same_name {
            own.name = format!("operator-{process}-{}", own.incarnation);
        }
        own.candidate = candidate(&own.name);
        let incarnation = own.incarnation;
        self.after(away, Event::Wake { process, incarnation });
    }
}
