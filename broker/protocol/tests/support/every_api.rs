//! One list of every request and response, for tests that go over all of them.

/// Calls `$callback!` with a row `Api module Request Response;` for each API spoken; one that Kafka 4
/// no longer has ends in `until 3;`.
macro_rules! every_api {
    ($callback:ident) => {
        $callback! {
            Produce produce ProduceRequest ProduceResponse;
            Fetch fetch FetchRequest FetchResponse;
            ListOffsets list_offsets ListOffsetsRequest ListOffsetsResponse;
            Metadata metadata MetadataRequest MetadataResponse;
            LeaderAndIsr leader_and_isr LeaderAndIsrRequest LeaderAndIsrResponse until 3;
            StopReplica stop_replica StopReplicaRequest StopReplicaResponse until 3;
            UpdateMetadata update_metadata UpdateMetadataRequest UpdateMetadataResponse until 3;
            ControlledShutdown controlled_shutdown
                ControlledShutdownRequest ControlledShutdownResponse until 3;
            OffsetCommit offset_commit OffsetCommitRequest OffsetCommitResponse;
            OffsetFetch offset_fetch OffsetFetchRequest OffsetFetchResponse;
            FindCoordinator find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
            JoinGroup join_group JoinGroupRequest JoinGroupResponse;
            Heartbeat heartbeat HeartbeatRequest HeartbeatResponse;
            LeaveGroup leave_group LeaveGroupRequest LeaveGroupResponse;
            SyncGroup sync_group SyncGroupRequest SyncGroupResponse;
            DescribeGroups describe_groups DescribeGroupsRequest DescribeGroupsResponse;
            ListGroups list_groups ListGroupsRequest ListGroupsResponse;
            ApiVersions api_versions ApiVersionsRequest ApiVersionsResponse;
            CreateTopics create_topics CreateTopicsRequest CreateTopicsResponse;
            DeleteTopics delete_topics DeleteTopicsRequest DeleteTopicsResponse;
            DeleteRecords delete_records DeleteRecordsRequest DeleteRecordsResponse;
            InitProducerId init_producer_id InitProducerIdRequest InitProducerIdResponse;
            OffsetForLeaderEpoch offset_for_leader_epoch
                OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
            DescribeConfigs describe_configs DescribeConfigsRequest DescribeConfigsResponse;
            AlterConfigs alter_configs AlterConfigsRequest AlterConfigsResponse;
            AlterReplicaLogDirs alter_replica_log_dirs
                AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse;
            DescribeLogDirs describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse;
            CreatePartitions create_partitions CreatePartitionsRequest CreatePartitionsResponse;
            DeleteGroups delete_groups DeleteGroupsRequest DeleteGroupsResponse;
            IncrementalAlterConfigs incremental_alter_configs
                IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
            OffsetDelete offset_delete OffsetDeleteRequest OffsetDeleteResponse;
            ElectLeaders elect_leaders ElectLeadersRequest ElectLeadersResponse;
            AlterPartitionReassignments alter_partition_reassignments
                AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse;
            ListPartitionReassignments list_partition_reassignments
                ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
            AlterPartition alter_partition AlterPartitionRequest AlterPartitionResponse;
            AllocateProducerIds allocate_producer_ids
                AllocateProducerIdsRequest AllocateProducerIdsResponse;
            DescribeCluster describe_cluster DescribeClusterRequest DescribeClusterResponse;
            DescribeProducers describe_producers DescribeProducersRequest DescribeProducersResponse;
            DescribeTopicPartitions describe_topic_partitions
                DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
        }
    };
}
pub(crate) use every_api;
