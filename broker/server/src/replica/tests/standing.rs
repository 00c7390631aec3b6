//! What a broker can prove of its logs after each kind of end.

use broker_storage::fs::Open;
use broker_storage::fs::faulty::{Failure, FaultyFs};

use super::moving::finish;
use super::*;
use crate::replica::manager::Become;
use crate::replica::partition_state::Leadership;

const DIR: &str = "/data";
const OTHER_DIR: &str = "/other";
const ME: BrokerId = BrokerId(2);

/// A machine: a disk, and the id that the kernel gives each of its starts.
struct Machine {
    fs: FaultyFs,
    boots: u32,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self { fs: FaultyFs::new(7), boots: 0 };
        machine.boot();
        machine
    }

    fn boot(&mut self) {
        self.boots += 1;
        let id = format!("{:036}", self.boots);
        self.fs.create_dir_all(Path::new("/proc/sys/kernel/random")).unwrap();
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let file = self.fs.open(path, Open::Truncate).unwrap();
        file.write_all_at(&mut [io::IoSlice::new(id.as_bytes())], 0).unwrap();
    }

    /// The power goes, and comes back.
    fn cut_power(&mut self) {
        self.fs = self.fs.crash();
        self.boot();
    }

    fn start(&self, config: &Arc<TopicConfig>) -> Arc<Manager> {
        open_on(&(Arc::new(self.fs.clone()) as Arc<dyn Fs>), &[Path::new(DIR)], config)
    }

    fn start_with_two_dirs(&self) -> Arc<Manager> {
        let dirs = [DIR, OTHER_DIR].map(Path::new);
        open_on(&(Arc::new(self.fs.clone()) as Arc<dyn Fs>), &dirs, &relaxed())
    }
}

/// Says that another broker leads `t-0` in `epoch`.
fn follow(manager: &Manager, epoch: i32, is_in_sync: bool, is_new: bool) {
    let leadership = Leadership::alone(BrokerId(1), LeaderEpoch(epoch), 2);
    let isr = if is_in_sync { vec![BrokerId(1), ME] } else { vec![BrokerId(1)] };
    let change = Become {
        partition: name(),
        topic_id: ID,
        config: relaxed(),
        leadership: Leadership { isr, partition_epoch: epoch, ..leadership },
        leads: false,
        is_in_sync,
        is_new,
    };
    manager.apply(vec![change]);
}

fn is_unproven(manager: &Manager) -> bool {
    manager.standings().is_unproven(&name())
}

#[test]
fn a_killed_process_and_a_clean_stop_prove_a_relaxed_log_and_a_power_cut_does_not() {
    let mut machine = Machine::new();
    let manager = machine.start(&relaxed());
    lead(&manager, 1, &relaxed());
    drop(manager);
    assert!(!is_unproven(&machine.start(&relaxed())), "killed");

    let manager = machine.start(&relaxed());
    manager.close(1);
    drop(manager);
    machine.boot();
    assert!(!is_unproven(&machine.start(&relaxed())), "stopped, and the machine too");

    machine.cut_power();
    let manager = machine.start(&relaxed());
    assert!(is_unproven(&manager));
    assert_eq!(manager.standings().unproven().into_iter().collect::<Vec<_>>(), [name()]);
}

#[test]
fn a_synced_topic_is_proven_whatever_happened() {
    let synced = config(&[("ottla.durability", "synced")]);
    let mut machine = Machine::new();
    let manager = machine.start(&synced);
    lead(&manager, 1, &synced);
    drop(manager);
    machine.cut_power();
    assert!(!is_unproven(&machine.start(&synced)));
}

/// The topic's settings alone do not say what was synced under the settings before.
#[test]
fn a_topic_that_becomes_a_synced_one_proves_nothing_before_all_of_its_log_is_synced() {
    let synced = config(&[("ottla.durability", "synced")]);
    for (before, is_synced, expected) in [
        ([&relaxed(), &synced], false, true),
        ([&relaxed(), &synced], true, false),
        // By way of a relaxed one.
        ([&synced, &synced], false, true),
    ] {
        let mut machine = Machine::new();
        let manager = machine.start(before[0]);
        lead(&manager, 1, before[0]);
        manager.set_config("t", &relaxed());
        let partition = manager.partition("t", 0).unwrap();
        append(&partition, 3).unwrap();
        manager.set_config("t", before[1]);
        if is_synced {
            partition.request_sync().wait().unwrap();
            while partition.is_synced_whole() != Some(true) {
                std::thread::yield_now();
            }
            manager.checkpoint_high_watermarks();
        }
        drop((manager, partition));
        machine.cut_power();
        assert_eq!(is_unproven(&machine.start(&synced)), expected, "{is_synced}");
    }
}

#[test]
fn what_is_unproven_stays_so_over_kills_and_stops_until_it_has_joined() {
    let mut machine = Machine::new();
    let manager = machine.start(&relaxed());
    lead(&manager, 1, &relaxed());
    drop(manager);
    machine.cut_power();
    drop(machine.start(&relaxed()));
    let manager = machine.start(&relaxed());
    assert!(is_unproven(&manager), "killed after the power cut");
    manager.close(1);
    drop(manager);
    let manager = machine.start(&relaxed());
    assert!(is_unproven(&manager), "stopped after the power cut");

    follow(&manager, 1, true, false);
    assert!(is_unproven(&manager), "a member still, by what it was");
    follow(&manager, 2, false, false);
    let changes = manager.standings().changes();
    follow(&manager, 3, true, false);
    assert!(!is_unproven(&manager), "it was let in");
    assert!(changes.has_changed().unwrap());
    manager.checkpoint_high_watermarks();
    drop(manager);
    assert!(!is_unproven(&machine.start(&relaxed())));
}

#[test]
fn a_log_that_should_be_there_and_is_not_is_unproven_and_whoever_leads_is_proven() {
    let machine = Machine::new();
    let manager = machine.start(&relaxed());
    follow(&manager, 4, true, true);
    assert!(!is_unproven(&manager), "a new replica");
    delete(&manager, &name()).unwrap();
    follow(&manager, 5, true, false);
    assert!(is_unproven(&manager));
    drop(manager);
    let manager = machine.start(&relaxed());
    assert!(is_unproven(&manager));
    manager.standings().leads(&name());
    assert!(!is_unproven(&manager));
}

#[test]
fn a_file_that_cannot_be_believed_proves_nothing() {
    let machine = Machine::new();
    let synced = config(&[("ottla.durability", "synced")]);
    let manager = machine.start(&synced);
    lead(&manager, 1, &synced);
    drop(manager);
    let path = Path::new(DIR).join("ottla-standing");
    machine.fs.open(&path, Open::Write).unwrap().set_len(5).unwrap();
    assert!(is_unproven(&machine.start(&synced)));
}

/// The file that names a replica is that of the directory which it is in.
#[test]
fn what_is_unproven_stays_so_in_another_directory() {
    let mut machine = Machine::new();
    let manager = machine.start_with_two_dirs();
    lead(&manager, 1, &relaxed());
    append(&manager.partition("t", 0).unwrap(), 3).unwrap();
    drop(manager);
    machine.cut_power();
    let manager = machine.start_with_two_dirs();
    follow(&manager, 1, true, false);
    assert!(is_unproven(&manager));
    let partition = manager.partition("t", 0).unwrap();
    let from = partition.dir().path().to_owned();
    let to = [DIR, OTHER_DIR].map(Path::new).into_iter().find(|path| *path != from).unwrap();
    manager.alter_dir(&name(), to).unwrap();
    finish(&manager);
    assert_eq!(partition.dir().path(), to);
    drop((manager, partition));
    let manager = machine.start_with_two_dirs();
    assert!(is_unproven(&manager), "killed after the move");
    follow(&manager, 2, false, false);
    follow(&manager, 3, true, false);
    assert!(!is_unproven(&manager), "it was let in, and nothing is left of where it was");
}

/// That it has left the ISR is known of it wherever it moves.
#[test]
fn a_replica_that_moves_while_it_is_out_of_the_isr_is_let_in() {
    let mut machine = Machine::new();
    let manager = machine.start_with_two_dirs();
    lead(&manager, 1, &relaxed());
    drop(manager);
    machine.cut_power();
    let manager = machine.start_with_two_dirs();
    follow(&manager, 1, false, false);
    let partition = manager.partition("t", 0).unwrap();
    for path in [OTHER_DIR, DIR].map(Path::new) {
        // One of the two is where it is already.
        manager.alter_dir(&name(), path).unwrap();
        finish(&manager);
        assert!(is_unproven(&manager));
    }
    drop(partition);
    follow(&manager, 2, true, false);
    assert!(!is_unproven(&manager));
}

/// A log that was found to be missing is named in whatever directory works, and made in another.
#[test]
fn a_lost_log_is_unproven_wherever_it_is_made() {
    let machine = Machine::new();
    let manager = machine.start_with_two_dirs();
    manager.standings().add(&manager.log_dirs()[0], vec![name()]).unwrap();
    // It is made there when it is made.
    manager.alter_dir(&name(), Path::new(OTHER_DIR)).unwrap_err();
    follow(&manager, 0, true, false);
    assert_eq!(manager.partition("t", 0).unwrap().dir().path(), Path::new(OTHER_DIR));
    drop(manager);
    assert!(is_unproven(&machine.start_with_two_dirs()));
}

/// A disk that is full cannot be told that a topic becomes a relaxed one: it stays a synced one until it can.
#[test]
fn settings_that_a_full_disk_refuses_come_later() {
    let synced = config(&[("ottla.durability", "synced")]);
    let mut machine = Machine::new();
    let manager = machine.start(&synced);
    lead(&manager, 1, &synced);
    let partition = manager.partition("t", 0).unwrap();
    machine.fs.fail_from(machine.fs.operations(), Failure::Full, true);
    for _ in 0..2 {
        manager.set_config("t", &relaxed());
        assert!(partition.is_synced());
    }
    manager.checkpoint_high_watermarks();
    assert!(partition.is_synced());
    machine.fs.heal();
    manager.checkpoint_high_watermarks();
    assert!(!partition.is_synced());
    append(&partition, 3).unwrap();
    drop((manager, partition));
    machine.cut_power();
    assert!(is_unproven(&machine.start(&synced)), "the file names it");
}

/// Settings may come with an order of the controller before they come by themselves.
#[test]
fn a_topic_that_becomes_a_relaxed_one_by_an_order_is_named_as_one() {
    let synced = config(&[("ottla.durability", "synced")]);
    let mut machine = Machine::new();
    let manager = machine.start(&synced);
    lead(&manager, 1, &synced);
    lead_in(&manager, &relaxed(), LeaderEpoch(1), 1);
    manager.set_config("t", &relaxed());
    append(&manager.partition("t", 0).unwrap(), 3).unwrap();
    drop(manager);
    machine.cut_power();
    assert!(is_unproven(&machine.start(&synced)));
}
