//! The broker at the moment of a scrape: plain values, so that pages are made without a broker.

use std::sync::Arc;

use broker_config::value::MetricsPartitions;

use super::health::Phase;
use super::histogram::Counts;
use super::timer::Durations;

/// Everything that a page is made of.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version of this build.
    pub version: &'static str,
    /// How far the broker has come.
    pub phase: Phase,
    /// Which partitions get series of their own.
    pub partitions: MetricsPartitions,
    /// This broker's id.
    pub broker_id: i32,
    /// The live brokers with where they are reached: id, address.
    pub brokers: Vec<(i32, String)>,
    /// The controller, as far as it is here.
    pub controller: ControllerFacts,
    /// All topics of the cluster.
    pub topics: Vec<TopicFacts>,
    /// Counts of all topics together, those that are gone included, by Kafka's name.
    pub totals: Vec<(&'static str, u64)>,
    /// Requests by API.
    pub requests: Vec<RequestFacts>,
    /// Connections by listener and thread.
    pub connections: Vec<ConnectionFacts>,
    /// Network threads, in order.
    pub threads: Vec<ThreadFacts>,
    /// The process.
    pub process: ProcessFacts,
    /// Log directories, in the order of the setting.
    pub log_dirs: Vec<LogDirFacts>,
    /// Compaction.
    pub cleaner: CleanerFacts,
    /// Groups that this broker coordinates, by id.
    pub groups: Vec<GroupFacts>,
    /// How many groups are in each state, by Kafka's name.
    pub group_states: Vec<(&'static str, u64)>,
    /// Whether groups are missing because they are still being read.
    pub is_loading_groups: bool,
    /// Replication.
    pub replication: ReplicationFacts,
    /// Sessions with the coordination tree.
    pub coordination: CoordinationFacts,
    /// Fetch sessions.
    pub fetch_sessions: SessionFacts,
    /// Running tasks by name.
    pub tasks: Vec<(&'static str, u64)>,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct TopicFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionFacts>,
    /// Its counts on this broker, by Kafka's name; empty if it has no replica here.
    pub counts: Vec<(&'static str, u64)>,
}

/// A partition: what the cluster knows, and what this broker knows if it has a replica.
#[derive(Debug, Clone)]
pub struct PartitionFacts {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, -1 if none does.
    pub leader: i32,
    /// Whether that is the first assigned replica.
    pub is_leader_preferred: bool,
    /// Assigned replicas.
    pub replicas: u32,
    /// Replicas in sync.
    pub in_sync: u32,
    /// The replica on this broker.
    pub local: Option<ReplicaFacts>,
}

/// A replica on this broker.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaFacts {
    /// Whether this broker leads the partition.
    pub is_leader: bool,
    /// The first offset.
    pub log_start_offset: i64,
    /// The first offset that consumers do not see.
    pub high_watermark: i64,
    /// The offset after the last.
    pub log_end_offset: i64,
    /// Bytes of all batches.
    pub size_in_bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// How many replicas must be in sync.
    pub required_in_sync: u32,
    /// Whether its log directory failed.
    pub is_offline: bool,
    /// Replicas, those that a reassignment adds left out; 0 unless this broker leads.
    pub wanted: u32,
    /// Replicas in sync; 0 unless this broker leads.
    pub in_sync: u32,
    /// Whether a reassignment is under way, as the leader knows.
    pub is_reassigning: bool,
    /// The broker that is followed, -1 if none is.
    pub source: i32,
    /// Records: of a leader, what the replica that is furthest behind lacks; of a follower, what it lacks.
    pub lag: u64,
    /// Of a leader, how long the replica that is latest has lacked records.
    pub lag_seconds: f64,
}

/// What a controller knows of the cluster; zero where it is not.
#[derive(Debug, Clone, Default)]
pub struct ControllerFacts {
    /// Whether this broker is the controller.
    pub is_active: bool,
    /// The epoch of the controller that this broker obeys, -1 before there is one.
    pub epoch: i32,
    /// Registered brokers.
    pub brokers: u64,
    /// Topics.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Partitions without a live leader.
    pub offline_partitions: u64,
    /// Partitions that their first replica does not lead.
    pub preferred_imbalance: u64,
    /// Partitions that are moving.
    pub reassigning: u64,
    /// Topics that are to be deleted.
    pub topics_to_delete: u64,
    /// Replicas of them that have not been.
    pub replicas_to_delete: u64,
    /// Leaders elected by controllers of this process.
    pub elections: u64,
    /// Those of them that were not in sync.
    pub unclean_elections: u64,
    /// How long elections took, all of one event together.
    pub election_durations: Durations,
    /// How long it last took to read the cluster after taking office.
    pub load_seconds: f64,
}

/// Replication of this broker's partitions.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplicationFacts {
    /// Changes of an ISR that made it smaller.
    pub isr_shrinks: u64,
    /// Changes of an ISR that made it larger.
    pub isr_expands: u64,
    /// Replicas here that cannot prove that they are complete.
    pub unproven: u64,
    /// Orders to lead that were refused for that.
    pub refused_leaderships: u64,
}

/// Requests of one API.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// Kafka's name of it.
    pub request: &'static str,
    /// Requests by version.
    pub versions: Vec<(i16, u64)>,
    /// Error codes that were answered, by Kafka's names, `NONE` included.
    pub errors: Vec<(&'static str, u64)>,
    /// Requests of all versions.
    pub count: u64,
    /// The time that all of them took together.
    pub total_seconds: f64,
    /// How long they took, since the start.
    pub durations: Counts,
    /// How long they took of late.
    pub recent_total: Counts,
    /// The part that their handlers ran.
    pub recent_local: Counts,
    /// The part that they waited: for a sync, other replicas, or new records.
    pub recent_remote: Counts,
}

impl RequestFacts {
    /// Adds requests of another kind.
    pub fn add(&mut self, other: &Self) {
        for (version, count) in &other.versions {
            match self.versions.iter_mut().find(|(own, _)| own == version) {
                Some((_, own)) => *own += count,
                None => self.versions.push((*version, *count)),
            }
        }
        self.versions.sort_unstable();
        for (error, count) in &other.errors {
            match self.errors.iter_mut().find(|(own, _)| own == error) {
                Some((_, own)) => *own += count,
                None => self.errors.push((error, *count)),
            }
        }
        self.count += other.count;
        self.total_seconds += other.total_seconds;
        self.durations.add(&other.durations);
        self.recent_total.add(&other.recent_total);
        self.recent_local.add(&other.recent_local);
        self.recent_remote.add(&other.recent_remote);
    }
}

/// Connections of one listener on one network thread.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The thread's number.
    pub network_thread: usize,
    /// Open now.
    pub open: u64,
    /// Accepted since the start.
    pub total: u64,
}

/// A network thread.
#[derive(Debug, Clone, Copy)]
pub struct ThreadFacts {
    /// Time that it worked since the start.
    pub busy_seconds: f64,
    /// The share of the last minute that it waited, 0 to 1.
    pub idle_ratio: f64,
}

/// What the kernel knows of the process; absent where it does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessFacts {
    /// Processor time in user and kernel mode.
    pub cpu_seconds: Option<f64>,
    /// When it was started, since the epoch.
    pub start_time_seconds: Option<f64>,
    /// Memory in use.
    pub resident_memory_bytes: Option<f64>,
    /// Open descriptors.
    pub open_fds: Option<f64>,
    /// The most descriptors it may have.
    pub max_fds: Option<f64>,
    /// Bytes that it caused to be read from disks.
    pub disk_read_bytes: Option<f64>,
    /// Bytes that it caused to be written to disks.
    pub disk_write_bytes: Option<f64>,
}

/// The file system of a log directory.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpace {
    /// Its size.
    pub total_bytes: u64,
    /// What is left for us.
    pub available_bytes: u64,
}

/// A log directory.
#[derive(Debug, Clone)]
pub struct LogDirFacts {
    /// Its path.
    pub dir: String,
    /// Whether it failed.
    pub is_offline: bool,
    /// Appends that wait for a sync.
    pub syncs_queued: u64,
    /// Its file system, if that can be asked.
    pub space: Option<DiskSpace>,
}

/// Compaction since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct CleanerFacts {
    /// Rounds that were finished.
    pub rounds: u64,
    /// Rounds that failed.
    pub failures: u64,
    /// Bytes of segments read for copying.
    pub bytes_read: u64,
    /// Bytes of segments written.
    pub bytes_written: u64,
    /// How long the last finished round took, in seconds.
    pub last_round_seconds: f64,
    /// The largest share of dirty bytes that the last search met, 0 to 1.
    pub dirty_ratio_max: f64,
    /// Logs that are not compacted any more.
    pub uncleanable: u64,
}

/// A group; the last one may be all that are too many to be named.
#[derive(Debug, Clone)]
pub struct GroupFacts {
    /// Its id, or `other`.
    pub group: Arc<str>,
    /// Its members.
    pub members: u64,
    /// What it has committed.
    pub offsets: Vec<CommittedFacts>,
    /// Whether these are many groups: only sums are of use then.
    pub is_other: bool,
}

/// A committed offset of a group.
#[derive(Debug, Clone)]
pub struct CommittedFacts {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset committed.
    pub offset: i64,
    /// Records between it and the high watermark, if the partition is led here.
    pub lag: Option<i64>,
    /// The age of the first record that was not consumed, zero if all were.
    pub lag_seconds: Option<f64>,
}

/// Sessions with the coordination tree.
#[derive(Debug, Clone, Default)]
pub struct CoordinationFacts {
    /// How the session is, by Kafka's name.
    pub state: &'static str,
    /// Connections made.
    pub connects: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// Sessions that were over.
    pub expires: u64,
    /// Credentials refused.
    pub auth_failures: u64,
    /// Requests; none on the embedded tree.
    pub requests: Durations,
}

/// Fetch sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionFacts {
    /// Sessions that live.
    pub sessions: u64,
    /// Partitions in all of them.
    pub partitions: u64,
    /// Sessions that had to make room.
    pub evictions: u64,
}
