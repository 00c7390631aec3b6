//! A run: storms of faults with calm between them, a last look at everything, and the verdict.
//!
//! In a storm up to three faults go on at once. In the calm after it every fault is over: each
//! partition must soon accept `acks=all` again, and all replicas be in sync. At the end every
//! partition is read from its start, again after all brokers were started anew, and then the disks
//! are compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::bed::Bed;
use super::checker::{Rule, Violation, replicas};
use super::fault::{Fault, Outcome, Strike};
use super::history::{History, Place, What};
use super::judge;
use super::last;
use super::node::{Kind, Setup};
use super::planted;
use super::script::{Actor, DEEDS};
use super::table::Report;
use super::workload::churn::Churn;
use super::workload::commit::{ask_everyone_on, ask_on, commit_on};
use super::workload::java;
use super::workload::librdkafka::produce_on;
use super::workload::member::Member;
use super::workload::produce::Producer;
use super::workload::read::{Manner, Reader};
use super::workload::{Client, Pulse, Shared, TOPICS, places};
use crate::deadline::{self, Deadline, Stopwatch};
use crate::workspace;

/// Every partition accepts `acks=all` so soon after the last fault was mended.
const ACCEPTS_SECONDS: u64 = 30;
/// Virtual machines that start together on two cores get more to be there at all.
const SERVES_SECONDS: u64 = 120;
/// A wiped disk is full again, a replica that was away is in sync.
const WHOLE_SECONDS: u64 = 60;
/// How long faults go on before everything is looked at in calm.
const STORM_SECONDS: u64 = 40;
/// The groups that offsets are committed for without membership.
const GROUPS: [u16; 3] = [101, 102, 103];
/// How often a person is told.
const PROGRESS: Duration = Duration::from_secs(5);
/// Between a fault that did nothing and the one in its place.
const AGAIN: Duration = Duration::from_millis(100);
/// The last reading may meet leaders that have just moved.
const READ_SECONDS: u64 = 120;

/// What the command line chose.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The brokers.
    pub kinds: Vec<Kind>,
    /// The directory of ZooKeeper's jars.
    pub zookeeper_jars: PathBuf,
    /// How many ZooKeeper servers.
    pub zookeepers: u8,
    /// How long faults and load go on.
    pub time: Duration,
    /// What all random choices come from.
    pub seed: u64,
    /// The most faults at once; 0 for none.
    pub overlapping: usize,
    /// The kinds of faults.
    pub faults: Vec<Fault>,
    /// The mean time between a fault's end and the next in its place.
    pub pause: Duration,
    /// The mean time between two rounds of a producer.
    pub pace: Duration,
    /// Where a cluster of Kafka alone keeps what it complains of, and a mixed one is judged by it.
    pub complaints: Option<PathBuf>,
    /// The role of each broker in the script, which is played in place of faults at random.
    pub script: Option<Vec<Kind>>,
    /// What the brokers are told.
    pub setup: Setup,
    /// The planted fault that ends the run once it is found.
    pub hunted: Option<String>,
    /// The least faults an hour of storms and calm; fewer fail the run.
    pub least: f64,
    /// Whether topics are made and deleted, and replicas moved.
    pub churn: bool,
}

impl Plan {
    /// The least faults an hour that a run is worth, by what its pace allows: a third of it, as storms have
    /// calm between them, a fault may find its target taken, and a run of a minute has few; half of that
    /// where brokers of Kafka take long to start. A long run of three at once is judged by [`LEAST_LONG`]
    /// whatever its pace.
    pub fn least_by_pace(&self) -> f64 {
        if self.script.is_some() || self.overlapping == 0 {
            return 0.0;
        }
        let each = self.pause.as_secs_f64() + Fault::mean_seconds(&self.faults);
        let allowed = self.overlapping as f64 * 3_600.0 / each;
        let share = if self.kinds.contains(&Kind::Kafka) { 6.0 } else { 3.0 };
        let is_long = self.time >= LONG && self.overlapping >= 3;
        (allowed / share).max(if is_long { LEAST_LONG } else { 0.0 })
    }
}

/// A run that is as long has to show what the half hour of the test bed's promise does.
const LONG: Duration = Duration::from_mins(10);
/// That many faults an hour.
const LEAST_LONG: f64 = 900.0;

/// Faults of a run, shared by those who do them.
#[derive(Debug, Default)]
struct Tally {
    done: Mutex<BTreeMap<Fault, u64>>,
    /// Those that found nothing to do, and why.
    undone: Mutex<BTreeMap<(Fault, &'static str), u64>>,
    going: Mutex<Vec<String>>,
    harness_errors: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run under way.
struct Run {
    plan: Plan,
    bed: Arc<Bed>,
    shared: Shared,
    tally: Arc<Tally>,
    clock: Stopwatch,
    /// How long storms and calms took together.
    stormy: Duration,
    next_process: u32,
    /// How long each calm took to accept everywhere, and to be whole.
    accepts: Vec<Duration>,
    wholes: Vec<Duration>,
}

/// Where the history of the last run is kept.
pub fn history_file() -> PathBuf {
    workspace::output_dir().join("cluster-history.txt")
}

/// Starts a cluster, does what `plan` says, and returns what came of it. Only inside
/// [`super::enter`].
pub fn run(plan: Plan) -> Result<Report> {
    crate::logs::forget("cluster")?;
    last::forget_disks()?;
    fs::create_dir_all(workspace::output_dir()).context("create the output directory")?;
    let start = Stopwatch::start();
    let bed =
        Arc::new(Bed::start(&plan.zookeeper_jars, plan.zookeepers, &plan.kinds, &plan.setup)?);
    bed.create_topics()?;
    println!("cluster: {} brokers serve after {:.1} s", plan.kinds.len(), seconds(start.elapsed()));
    let shared = Shared {
        history: Arc::new(History::create(&history_file())?),
        view: Arc::clone(&bed.view),
        kafkas: bed.of_kafka(),
        stop: Arc::new(AtomicBool::new(false)),
        pulse: Arc::new(Pulse::default()),
    };
    let mut run = Run {
        plan,
        bed,
        shared,
        tally: Arc::default(),
        clock: Stopwatch::start(),
        stormy: Duration::ZERO,
        next_process: 1,
        accepts: Vec::new(),
        wholes: Vec::new(),
    };
    let keeper = run.bed.keep_up();
    let over = Arc::new(AtomicBool::new(false));
    let teller = run.tell(&over);
    let comparison = run.go();
    over.store(true, Ordering::SeqCst);
    join(teller)?;
    judge::ends(&run.bed, &run.shared.history);
    judge::words(&run.bed, &run.shared.history)?;
    if let Some(known) = &run.plan.complaints {
        judge::complaints(&run.bed, &run.shared.history, known)?;
    }
    let violations = run.shared.history.finish()?;
    let report = run.report(violations, &comparison?);
    planted::keep(&report.violations)?;
    if !report.is_clean() {
        last::keep_disks(&run.bed).unwrap_or_else(|error| report.note_error(&error));
    }
    run.bed.close().unwrap_or_else(|error| report.note_error(&error));
    join(keeper)?;
    Ok(report)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the harness panicked"))
}

impl Run {
    /// Load, storms and calms; then the last look.
    fn go(&mut self) -> Result<replicas::Comparison> {
        let workers = self.load();
        let process = self.process();
        let churn = Churn::new(self.shared.clone(), process, self.seed(process));
        let churn = self.plan.churn.then(|| thread::spawn(move || churn.run()));
        self.begin()?;
        match self.plan.script.clone() {
            Some(roles) => self.play(&roles)?,
            None => self.storms()?,
        }
        self.stormy = self.clock.elapsed();
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in workers {
            join(worker)?;
        }
        if let Some(churn) = churn {
            let operations = join(churn)?.judge();
            println!("cluster: {operations} operations of an administrator");
        }
        self.read_all("after the last fault");
        judge::stop_all(&self.bed, &self.shared.history)?;
        self.bed.start_all()?;
        self.read_all("after all brokers were started anew");
        last::look(&self.bed, &self.shared)
    }

    /// Waits until every group has committed something, from then on no coordinator may say "none", and
    /// until every client has written: a virtual machine takes its time.
    fn begin(&self) -> Result<()> {
        let history = &self.shared.history;
        let all = || history.look(|checker| GROUPS.iter().all(|group| checker.has_commits(*group)));
        let pulse = &self.shared.pulse;
        let deadline = Deadline::seconds(SERVES_SECONDS);
        deadline.poll("first commits", || Ok(all().then_some(())))?;
        deadline
            .poll("all clients to write", || Ok(pulse.silent_since(0).is_empty().then_some(())))?;
        history.record(0, What::Rest);
        Ok(())
    }

    /// Storms with calm between them, until time is up.
    fn storms(&mut self) -> Result<()> {
        let mut rng = fastrand::Rng::with_seed(self.plan.seed);
        while self.clock.elapsed() < self.plan.time {
            let left = self.plan.time.saturating_sub(self.clock.elapsed());
            let storm = left.min(Duration::from_secs(STORM_SECONDS));
            self.shared.history.note(format!("storm for {:.0} s", seconds(storm)));
            self.storm(Deadline::after(storm), &mut rng)?;
            self.calm()?;
        }
        Ok(())
    }

    /// Every deed of the script, each with calm after it, in which all replicas are compared.
    fn play(&mut self, roles: &[Kind]) -> Result<()> {
        let bed = Arc::clone(&self.bed);
        let history = Arc::clone(&self.shared.history);
        let mut actor = Actor::new(&bed, roles)?;
        for deed in DEEDS {
            let clock = Stopwatch::start();
            history.note(deed.to_string());
            if let Err(error) = actor.perform(deed) {
                history.record(0, What::Wrong(Rule::Undone, format!("{error:#}")));
            }
            let done = seconds(clock.elapsed());
            // What it moved is as good as mended.
            self.bed.note_mend();
            self.calm()?;
            let batches = last::look_on(&bed, &self.shared)?.batches;
            let whole = seconds(clock.elapsed());
            println!("{deed:50} {done:6.1} s, {whole:6.1} s with calm, {batches:6} batches equal");
        }
        Ok(())
    }

    fn process(&mut self) -> u32 {
        self.next_process += 1;
        self.next_process - 1
    }

    fn seed(&self, process: u32) -> u64 {
        self.plan.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(process))
    }

    /// Starts every worker.
    fn load(&mut self) -> Vec<JoinHandle<()>> {
        let mut workers = Vec::new();
        let pace = self.plan.pace;
        let own = |place: &Place| TOPICS[usize::from(place.topic)].client == Client::Own;
        for place in places().into_iter().filter(own) {
            let process = self.process();
            let producer =
                Producer::new(self.shared.clone(), place, process, self.seed(process), pace);
            workers.push(thread::spawn(move || producer.run()));
        }
        for (topic, _) in (0..).zip(TOPICS).filter(|(_, it)| it.client == Client::Librdkafka) {
            let (process, shared) = (self.process(), self.shared.clone());
            let seed = self.seed(process);
            workers.push(thread::spawn(move || produce_on(&shared, topic, process, seed, pace)));
        }
        for (topic, _) in (0..).zip(TOPICS).filter(|(_, it)| it.client == Client::Java) {
            let (process, shared) = (self.process(), self.shared.clone());
            self.next_process += java::PROCESSES - 1;
            let seed = self.seed(process);
            let run = move || java::run_on(&shared, topic, process, seed, pace);
            workers.push(thread::spawn(run));
        }
        for manner in [Manner::Follow, Manner::Wander] {
            let process = self.process();
            let reader = Reader::new(self.shared.clone(), process, manner, self.seed(process));
            workers.push(thread::spawn(move || reader.run()));
        }
        let groups = GROUPS;
        for work in [commit_on, ask_on, ask_everyone_on] {
            let (process, shared) = (self.process(), self.shared.clone());
            workers.push(thread::spawn(move || work(&shared, process, &groups)));
        }
        for _ in 0..3 {
            let process = self.process();
            let member = Member::new(self.shared.clone(), process, 1, self.seed(process));
            workers.push(thread::spawn(move || member.run()));
        }
        workers
    }

    /// Faults until `end`, as many at once as the plan allows; all are over on return.
    fn storm(&mut self, end: Deadline, rng: &mut fastrand::Rng) -> Result<()> {
        let mut slots = Vec::new();
        for _ in 0..self.plan.overlapping {
            let (bed, tally) = (Arc::clone(&self.bed), Arc::clone(&self.tally));
            let history = Arc::clone(&self.shared.history);
            let plan = self.plan.clone();
            let mut rng = fastrand::Rng::with_seed(rng.u64(..));
            slots.push(thread::spawn(move || {
                while !end.passed() {
                    let pause = rng.u64(..=2 * plan.pause.as_millis() as u64);
                    deadline::pass(Duration::from_millis(pause).min(end.left()));
                    // One that does nothing leaves its place to another.
                    while !end.passed() && !strike(&bed, &mut rng, &plan, &history, &tally) {
                        deadline::pass(AGAIN);
                    }
                }
            }));
        }
        if slots.is_empty() {
            deadline::pass(end.left());
        }
        slots.into_iter().try_for_each(join)
    }

    /// Waits for what must be so soon after the last fault was mended, and records what was not. A process
    /// that was killed is mended when it is started, not when it serves.
    fn calm(&mut self) -> Result<()> {
        let history = Arc::clone(&self.shared.history);
        history.note("calm");
        let before = Deadline::seconds(SERVES_SECONDS)
            .poll("all processes to be started", || Ok(self.bed.since_mend()))?;
        let mended = history.now().saturating_sub(before.as_micros() as u64);
        let since_mend = || Duration::from_micros(history.now().saturating_sub(mended));
        let pulse = Arc::clone(&self.shared.pulse);
        let left = Duration::from_secs(ACCEPTS_SECONDS).saturating_sub(since_mend());
        let accepting = Deadline::after(left)
            .poll("all partitions", || Ok(pulse.silent_since(mended).is_empty().then_some(())));
        if accepting.is_err() {
            for place in pulse.silent_since(mended) {
                let what =
                    format!("{place} accepted nothing for {ACCEPTS_SECONDS} s after the last mend");
                history.record(0, What::Wrong(Rule::Unavailable, what));
            }
        }
        self.accepts.push(since_mend());
        self.bed.wait_until_all_serve(Deadline::seconds(SERVES_SECONDS))?;
        let whole = Deadline::seconds(WHOLE_SECONDS)
            .poll("all replicas", || Ok(self.bed.is_whole().then_some(())));
        if whole.is_err() {
            for what in self.bed.not_whole() {
                history.record(0, What::Wrong(Rule::NotWhole, what));
            }
        }
        self.wholes.push(since_mend());
        if whole.is_ok() {
            self.bed.losses.made_good(&self.bed.log_lengths());
            history.record(0, What::Rest);
        }
        Ok(())
    }

    fn read_all(&mut self, when: &str) {
        self.shared.history.note(format!("everything is read {when}"));
        let process = self.process();
        let seed = self.seed(process);
        let reader = Reader::new(self.shared.clone(), process, Manner::Follow, seed);
        reader.read_all(Deadline::seconds(READ_SECONDS));
    }

    /// A line every few seconds until the run is over.
    fn tell(&self, over: &Arc<AtomicBool>) -> JoinHandle<()> {
        let (over, tally) = (Arc::clone(over), Arc::clone(&self.tally));
        let (history, clock) = (Arc::clone(&self.shared.history), self.clock);
        let hunted = self.plan.hunted.clone();
        thread::spawn(move || {
            let mut next = PROGRESS;
            while !over.load(Ordering::SeqCst) {
                deadline::pass(Duration::from_millis(200));
                let told = history.look(|checker| checker.told().to_vec());
                let is_found = hunted.as_ref().is_some_and(|bug| planted::is_found(bug, &told));
                if is_found && planted::keep(&told).is_ok() {
                    // The first process of its namespaces: all that it started ends with it.
                    std::process::exit(1);
                }
                if clock.elapsed() < next {
                    continue;
                }
                next += PROGRESS;
                let faults: u64 = locked(&tally.done).values().sum();
                let (acknowledged, broken) = history.look(|checker| {
                    (checker.acknowledged(), checker.counts().values().sum::<usize>())
                });
                println!(
                    "{:6.0} s  {acknowledged:9} acknowledged  {faults:4} faults  {broken} \
                     violations  {}",
                    seconds(clock.elapsed()),
                    locked(&tally.going).join(", ")
                );
            }
        })
    }

    fn report(&self, violations: Vec<Violation>, comparison: &replicas::Comparison) -> Report {
        let history = &self.shared.history;
        let ends = self.bed.nodes.iter().flat_map(|node| {
            let words = node.server.unexpected_ends().into_iter();
            words.map(|words| format!("{}: {words}", node.server.name))
        });
        let is_kafka = !self.shared.kafkas.is_empty();
        let relaxed = TOPICS.iter().filter(|topic| topic.relaxed || is_kafka);
        Report {
            seed: self.plan.seed,
            time: self.clock.elapsed(),
            stormy: self.stormy,
            least: self.plan.least,
            faults: locked(&self.tally.done).clone(),
            undone: locked(&self.tally.undone).clone(),
            relaxed: relaxed.map(|topic| topic.name).collect(),
            acknowledged: history.look(super::checker::Checker::acknowledged),
            verified: history.look(super::checker::Checker::verified),
            compared: (comparison.partitions, comparison.batches),
            gaps: self.shared.pulse.gaps(),
            accepts: self.accepts.clone(),
            wholes: self.wholes.clone(),
            ended_by_themselves: ends.collect(),
            counts: history.look(|checker| checker.counts().clone()),
            violations,
            harness_errors: Mutex::new(locked(&self.tally.harness_errors).clone()),
        }
    }
}

/// Draws a fault and does it; returns whether it did something.
fn strike(
    bed: &Bed,
    rng: &mut fastrand::Rng,
    plan: &Plan,
    history: &History,
    tally: &Tally,
) -> bool {
    let Some(strike) = Strike::draw(bed, rng, &plan.faults) else { return false };
    let name = strike.to_string();
    history.note(format!("begin {name}"));
    locked(&tally.going).push(name.clone());
    let landed = strike.land(history);
    locked(&tally.going).retain(|going| *going != name);
    let (is_done, said) = match landed {
        Ok(Outcome::Done) => {
            *locked(&tally.done).entry(strike.fault).or_default() += 1;
            (true, format!("end {name}"))
        }
        Ok(Outcome::Nothing(why)) => {
            *locked(&tally.undone).entry((strike.fault, why)).or_default() += 1;
            (false, format!("end {name}: nothing was done: {why}"))
        }
        Err(error) => {
            locked(&tally.harness_errors).push(format!("{error:#}"));
            (false, format!("end {name}: {error:#}"))
        }
    };
    history.note(said);
    is_done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(minutes: u64, change: impl FnOnce(&mut Plan)) -> f64 {
        let mut plan = Plan {
            kinds: vec![Kind::Ottla; 3],
            zookeeper_jars: PathBuf::new(),
            zookeepers: 3,
            time: Duration::from_mins(minutes),
            seed: 1,
            overlapping: 3,
            // It takes no time by itself.
            faults: vec![Fault::Depose],
            pause: Duration::from_secs(6),
            pace: Duration::ZERO,
            complaints: None,
            script: None,
            setup: Setup::default(),
            hunted: None,
            least: 0.0,
            churn: false,
        };
        change(&mut plan);
        plan.least_by_pace()
    }

    #[test]
    fn a_run_must_do_a_third_of_the_faults_that_its_pace_allows() {
        let is = |rate: f64, expected: f64| assert!((rate - expected).abs() < 1.0, "{rate}");
        // Three every six seconds are 1,800 an hour.
        is(least(2, |_| {}), 600.0);
        is(least(2, |plan| plan.overlapping = 1), 200.0);
        is(least(2, |plan| plan.kinds[0] = Kind::Kafka), 300.0);
        is(least(2, |plan| plan.overlapping = 0), 0.0);
        is(least(30, |plan| plan.script = Some(vec![Kind::Kafka])), 0.0);
    }

    #[test]
    fn a_long_run_must_do_900_an_hour_however_slow_its_pace() {
        assert!((least(30, |_| {}) - LEAST_LONG).abs() < 1.0);
        assert!((least(30, |plan| plan.pause *= 10) - LEAST_LONG).abs() < 1.0);
        assert!(least(30, |plan| plan.pause /= 3) > LEAST_LONG);
        assert!(least(30, |plan| plan.overlapping = 2) < LEAST_LONG);
    }
}
