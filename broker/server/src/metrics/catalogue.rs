//! Every family there is: name, type, labels, pages, meaning. Nothing is rendered that is not here.
//!
//! Families that other projects named keep their names, even where they break Prometheus's own
//! conventions; the ones named `ottla_*` follow them.

use prometheus::proto::MetricType;

/// On which page a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `/metrics` only.
    Broker,
    /// `/metrics` for what this broker owns, `/metrics/cluster` for the whole cluster.
    Both,
}

/// A family of series.
#[derive(Debug)]
pub struct Family {
    /// The full name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Label names, in order. Some series of a family may lack the last ones.
    pub labels: &'static [&'static str],
    /// Where it is.
    pub page: Page,
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($kind:ident $page:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        /// Every family, by area.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: MetricType::$kind,
            labels: &[$($label),*],
            page: Page::$page,
            help: $help,
        }),*];
    };
}

families! {
    // The names of the JMX exporter: controller.
    GAUGE Broker "kafka_controller_kafkacontroller_activecontrollercount" [] "1 on the broker that is the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_offlinepartitionscount" [] "Partitions without a leader, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_preferredreplicaimbalancecount" [] "Partitions not led by their first replica, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_globaltopiccount" [] "Topics of the cluster, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_globalpartitioncount" [] "Partitions of the cluster, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_activebrokercount" [] "Registered brokers, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_topicstodeletecount" [] "Topics that are to be deleted, on the controller.";
    GAUGE Broker "kafka_controller_kafkacontroller_replicastodeletecount" [] "Replicas of them that are not known to be deleted, on the controller.";
    COUNTER Broker "kafka_controller_controllerstats_uncleanleaderelections_total" [] "Elections of a replica that was not in sync.";
    GAUGE Broker "kafka_controller_controllerstats_leaderelectionrateandtimems" ["quantile"] "Milliseconds of the elections that followed from one event.";
    COUNTER Broker "kafka_controller_controllerstats_leaderelectionrateandtimems_count" [] "Events that leaders were elected after.";
    // Replicas.
    GAUGE Broker "kafka_server_replicamanager_leadercount" [] "Partitions that this broker leads.";
    GAUGE Broker "kafka_server_replicamanager_partitioncount" [] "Replicas on this broker.";
    GAUGE Broker "kafka_server_replicamanager_underreplicatedpartitions" [] "Partitions led here of which a replica is not in sync.";
    GAUGE Broker "kafka_server_replicamanager_underminisrpartitioncount" [] "Partitions led here with fewer replicas in sync than min.insync.replicas.";
    GAUGE Broker "kafka_server_replicamanager_atminisrpartitioncount" [] "Partitions led here with as many replicas in sync as min.insync.replicas.";
    GAUGE Broker "kafka_server_replicamanager_offlinereplicacount" [] "Replicas here whose log directory failed.";
    GAUGE Broker "kafka_server_replicamanager_reassigningpartitions" [] "Partitions led here whose replicas are changing.";
    COUNTER Broker "kafka_server_replicamanager_isrshrinks_total" [] "Changes of an ISR by its leader here that made it smaller.";
    COUNTER Broker "kafka_server_replicamanager_isrexpands_total" [] "Changes of an ISR by its leader here that made it larger.";
    GAUGE Broker "kafka_server_replicafetchermanager_maxlag" ["clientId"] "The most records that a replica here is behind its leader.";
    GAUGE Broker "kafka_server_fetcherlagmetrics_consumerlag" ["clientId" "topic" "partition"] "Records that a replica here is behind its leader.";
    GAUGE Broker "kafka_cluster_partition_replicascount" ["topic" "partition"] "Assigned replicas, on the leader.";
    GAUGE Broker "kafka_cluster_partition_underreplicated" ["topic" "partition"] "1 if a replica is not in sync, on the leader.";
    GAUGE Broker "kafka_cluster_partition_underminisr" ["topic" "partition"] "1 if fewer replicas are in sync than min.insync.replicas, on the leader.";
    GAUGE Broker "kafka_cluster_partition_atminisr" ["topic" "partition"] "1 if as many replicas are in sync as min.insync.replicas, on the leader.";
    // Logs.
    GAUGE Broker "kafka_log_logmanager_offlinelogdirectorycount" [] "Log directories that failed.";
    GAUGE Broker "kafka_log_log_size" ["topic" "partition"] "Bytes of all batches in the log.";
    GAUGE Broker "kafka_log_log_logstartoffset" ["topic" "partition"] "The first offset of the log.";
    GAUGE Broker "kafka_log_log_logendoffset" ["topic" "partition"] "The offset after the last.";
    // Traffic; without a topic, of all of them.
    COUNTER Broker "kafka_server_brokertopicmetrics_bytesin_total" ["topic"] "Bytes of batches that producers appended.";
    COUNTER Broker "kafka_server_brokertopicmetrics_bytesout_total" ["topic"] "Bytes of batches sent to consumers.";
    COUNTER Broker "kafka_server_brokertopicmetrics_bytesrejected_total" ["topic"] "Bytes of batches refused for their size.";
    COUNTER Broker "kafka_server_brokertopicmetrics_messagesin_total" ["topic"] "Records that producers appended.";
    COUNTER Broker "kafka_server_brokertopicmetrics_totalproducerequests_total" ["topic"] "Produce requests, one a partition.";
    COUNTER Broker "kafka_server_brokertopicmetrics_totalfetchrequests_total" ["topic"] "Fetch requests, one a partition.";
    COUNTER Broker "kafka_server_brokertopicmetrics_failedproducerequests_total" ["topic"] "Produce requests that failed for the broker's reasons.";
    COUNTER Broker "kafka_server_brokertopicmetrics_failedfetchrequests_total" ["topic"] "Fetch requests that failed for the broker's reasons.";
    COUNTER Broker "kafka_server_brokertopicmetrics_producemessageconversions_total" ["topic"] "Batches converted from old formats.";
    COUNTER Broker "kafka_server_brokertopicmetrics_fetchmessageconversions_total" ["topic"] "Answers converted to old formats.";
    COUNTER Broker "kafka_server_brokertopicmetrics_invalidmessagecrcrecords_total" ["topic"] "Batches refused because their bytes were damaged.";
    COUNTER Broker "kafka_server_brokertopicmetrics_nokeycompactedtopicrecords_total" ["topic"] "Batches refused because a record of a compacted topic had no key.";
    // Requests: quantiles of the last five minutes.
    COUNTER Broker "kafka_network_requestmetrics_requests_total" ["request" "version"] "Requests by API and version.";
    COUNTER Broker "kafka_network_requestmetrics_errors_total" ["request" "error"] "Error codes in answers, one for each partition, topic or group that has one; NONE where all is well.";
    GAUGE Broker "kafka_network_requestmetrics_totaltimems" ["request" "quantile"] "Milliseconds from reading a request to its answer.";
    COUNTER Broker "kafka_network_requestmetrics_totaltimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestmetrics_requestqueuetimems" ["request" "quantile"] "Always 0: a request is handled by the thread that read it.";
    COUNTER Broker "kafka_network_requestmetrics_requestqueuetimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestmetrics_localtimems" ["request" "quantile"] "Milliseconds that the handler ran.";
    COUNTER Broker "kafka_network_requestmetrics_localtimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestmetrics_remotetimems" ["request" "quantile"] "Milliseconds that it waited: for a sync, other replicas, new records.";
    COUNTER Broker "kafka_network_requestmetrics_remotetimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestmetrics_responsequeuetimems" ["request" "quantile"] "Always 0: an answer is written by the thread that made it.";
    COUNTER Broker "kafka_network_requestmetrics_responsequeuetimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestmetrics_responsesendtimems" ["request" "quantile"] "Always 0: sending is not timed by request.";
    COUNTER Broker "kafka_network_requestmetrics_responsesendtimems_count" ["request"] "Requests.";
    GAUGE Broker "kafka_network_requestchannel_requestqueuesize" [] "Always 0: there is no request queue.";
    GAUGE Broker "kafka_network_socketserver_networkprocessoravgidle_percent" [] "The share of the last minute that network threads waited, 0 to 1.";
    GAUGE Broker "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent" [] "The same: network threads handle requests.";
    GAUGE Broker "kafka_server_socket_server_metrics_connection_count" ["listener" "networkProcessor"] "Open connections.";
    // The process.
    GAUGE Broker "kafka_server_kafkaserver_brokerstate" [] "1 starting, 2 recovering, 3 running, 7 stopping.";
    GAUGE Broker "kafka_server_kafkaserver_linux_disk_read_bytes" [] "Bytes that the process caused to be read from disks.";
    GAUGE Broker "kafka_server_kafkaserver_linux_disk_write_bytes" [] "Bytes that the process caused to be written to disks.";
    COUNTER Broker "process_cpu_seconds_total" [] "Processor time in user and kernel mode.";
    GAUGE Broker "process_open_fds" [] "Open descriptors.";
    GAUGE Broker "process_max_fds" [] "The most descriptors it may have.";
    GAUGE Broker "process_resident_memory_bytes" [] "Memory in use.";
    GAUGE Broker "process_start_time_seconds" [] "When it was started, since the epoch.";
    // The coordination session.
    COUNTER Broker "kafka_server_sessionexpirelistener_zookeeperdisconnects_total" [] "Connections lost to the coordination service; 0 on the embedded tree.";
    COUNTER Broker "kafka_server_sessionexpirelistener_zookeeperexpires_total" [] "Sessions that expired.";
    COUNTER Broker "kafka_server_sessionexpirelistener_zookeepersyncconnects_total" [] "Connections made to the coordination service; the embedded tree counts as one.";
    COUNTER Broker "kafka_server_sessionexpirelistener_zookeeperauthfailures_total" [] "Credentials refused; 0 on the embedded tree.";
    GAUGE Broker "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms" ["quantile"] "Milliseconds of a request to the coordination service; 0 on the embedded tree.";
    COUNTER Broker "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms_count" [] "Requests to the coordination service; 0 on the embedded tree.";
    // Groups.
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroups" [] "Groups that this broker coordinates.";
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroupsstable" [] "Groups whose members know their assignment.";
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance" [] "Groups that wait for members to join.";
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance" [] "Groups that wait for an assignment.";
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroupsempty" [] "Groups without members.";
    GAUGE Broker "kafka_coordinator_group_groupmetadatamanager_numgroupsdead" [] "Groups that are being removed.";
    // The names of kafka_exporter. On /metrics each series has one owner; on /metrics/cluster all are.
    GAUGE Both "kafka_brokers" [] "Live brokers, on the controller.";
    GAUGE Both "kafka_broker_info" ["id" "address"] "1 for each live broker, on the controller.";
    GAUGE Both "kafka_topic_partitions" ["topic"] "Partitions of a topic, on the leader of its first.";
    GAUGE Both "kafka_topic_partition_current_offset" ["topic" "partition"] "The offset that a consumer at the end is at, on the leader.";
    GAUGE Both "kafka_topic_partition_oldest_offset" ["topic" "partition"] "The first offset, on the leader.";
    GAUGE Both "kafka_topic_partition_leader" ["topic" "partition"] "The id of the leader.";
    GAUGE Both "kafka_topic_partition_replicas" ["topic" "partition"] "Assigned replicas.";
    GAUGE Both "kafka_topic_partition_in_sync_replica" ["topic" "partition"] "Replicas in sync.";
    GAUGE Both "kafka_topic_partition_leader_is_preferred" ["topic" "partition"] "1 if the first replica leads.";
    GAUGE Both "kafka_topic_partition_under_replicated_partition" ["topic" "partition"] "1 if a replica is not in sync.";
    GAUGE Both "kafka_consumergroup_current_offset" ["consumergroup" "topic" "partition"] "The offset that a group has committed.";
    GAUGE Both "kafka_consumergroup_lag" ["consumergroup" "topic" "partition"] "Records that a group has not consumed.";
    GAUGE Both "kafka_consumergroup_current_offset_sum" ["consumergroup" "topic"] "The same over all partitions of a topic.";
    GAUGE Both "kafka_consumergroup_lag_sum" ["consumergroup" "topic"] "The same over all partitions of a topic.";
    GAUGE Both "kafka_consumergroup_members" ["consumergroup"] "Members of a group.";
    // Our own.
    GAUGE Broker "ottla_build_info" ["version"] "1, with the version of this build.";
    GAUGE Broker "ottla_ready" [] "1 if /readyz says so.";
    HISTOGRAM Broker "ottla_request_duration_seconds" ["request"] "From reading a request to its answer.";
    COUNTER Broker "ottla_connections_total" ["listener"] "Connections accepted.";
    COUNTER Broker "ottla_network_thread_busy_seconds_total" ["network_thread"] "Time that a network thread worked.";
    GAUGE Broker "ottla_network_thread_idle_ratio" ["network_thread"] "The share of the last minute that it waited, 0 to 1.";
    GAUGE Both "ottla_consumergroup_lag_seconds" ["consumergroup" "topic" "partition"] "The age of the first record that a group has not consumed; 0 if it has consumed all.";
    GAUGE Both "ottla_consumergroup_max_lag_seconds" ["consumergroup" "topic"] "The largest of them in a topic.";
    GAUGE Broker "ottla_controller_epoch" [] "How often a controller had been elected when that one was, which this broker obeys; 0 before the first.";
    COUNTER Broker "ottla_controller_elections_total" [] "Leaders elected by this broker as controller; the first ones of new partitions are not counted.";
    HISTOGRAM Broker "ottla_controller_election_duration_seconds" [] "The elections that followed from one event, their writes included.";
    GAUGE Broker "ottla_controller_load_seconds" [] "How long this broker last took from its election as controller until it had read the cluster; 0 if it never was.";
    GAUGE Broker "ottla_controller_reassigning_partitions" [] "Partitions whose replicas are changing, on the controller.";
    GAUGE Broker "ottla_replication_lag_records" ["topic" "partition"] "Records that the replica furthest behind lacks, on the leader.";
    GAUGE Broker "ottla_replication_max_lag_records" [] "The largest of them.";
    GAUGE Broker "ottla_replication_max_lag_seconds" [] "For how long the latest replica of a partition led here has lacked records; 0 if none does.";
    COUNTER Broker "ottla_replication_refused_leaderships_total" [] "Orders to lead that were refused, as the replica may lack what was acknowledged.";
    GAUGE Broker "ottla_replication_unproven_replicas" [] "Replicas here that cannot prove that they hold all that was acknowledged, so that they do not lead.";
    GAUGE Broker "ottla_coordination_session_state" ["state"] "1 for the state that the session with the coordination service is in, 0 for the others.";
    HISTOGRAM Broker "ottla_coordination_request_duration_seconds" [] "Requests to the coordination service; none on the embedded tree.";
    GAUGE Broker "ottla_groups_loading" [] "1 while groups are being read, and missing here.";
    GAUGE Broker "ottla_log_dir_online" ["dir"] "0 if the log directory failed.";
    GAUGE Broker "ottla_log_dir_available_bytes" ["dir"] "Room in the file system of a log directory.";
    GAUGE Broker "ottla_log_dir_total_bytes" ["dir"] "Size of the file system of a log directory.";
    GAUGE Broker "ottla_log_dir_syncs_queued" ["dir"] "Appends that wait for a sync.";
    COUNTER Broker "ottla_log_cleaner_rounds_total" [] "Logs that were compacted.";
    COUNTER Broker "ottla_log_cleaner_failures_total" [] "Compactions that failed.";
    COUNTER Broker "ottla_log_cleaner_read_bytes_total" [] "Bytes of segments that compaction read.";
    COUNTER Broker "ottla_log_cleaner_written_bytes_total" [] "Bytes of segments that compaction wrote.";
    GAUGE Broker "ottla_log_cleaner_last_round_seconds" [] "How long the last compaction of a log took.";
    GAUGE Broker "ottla_log_cleaner_max_dirty_ratio" [] "The largest share of a log that waits for compaction, 0 to 1.";
    GAUGE Broker "ottla_log_cleaner_uncleanable_logs" [] "Logs that are not compacted any more, since compaction failed.";
    GAUGE Broker "ottla_log_segments" [] "Segments of all logs.";
    GAUGE Broker "ottla_log_bytes" [] "Bytes of all logs.";
    GAUGE Broker "ottla_fetch_sessions" [] "Fetch sessions that live.";
    GAUGE Broker "ottla_fetch_session_partitions" [] "Partitions in all of them.";
    COUNTER Broker "ottla_fetch_session_evictions_total" [] "Fetch sessions that had to make room for others.";
    GAUGE Broker "ottla_tasks" ["task"] "Tasks that run.";
}
