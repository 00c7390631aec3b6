import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Administration with the admin client of 2.8 to 4.x. */
final class Administer {
    private Administer() {}

    /** A call on an open admin client. */
    private interface Call<T> {
        T on(Admin admin) throws Exception;
    }

    private static <T> T with(Target target, Call<T> call) throws Exception {
        try (Admin admin = Admin.create(target.config())) {
            return call.on(admin);
        }
    }

    static void createTopic(Target target, String topic, int partitions) throws Exception {
        NewTopic created = new NewTopic(topic, Optional.of(partitions), Optional.empty());
        with(target, admin -> admin.createTopics(Collections.singleton(created)).all().get());
    }

    static void deleteTopic(Target target, String topic) throws Exception {
        with(target, admin -> admin.deleteTopics(Collections.singleton(topic)).all().get());
    }

    static Set<String> topics(Target target) throws Exception {
        return with(target, admin -> admin.listTopics().names().get());
    }

    static void createPartitions(Target target, String topic, int count) throws Exception {
        with(target, admin -> admin
            .createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(count))).all().get());
    }

    static void deleteRecords(Target target, TopicPartition partition, long before) throws Exception {
        long low = with(target, admin -> admin
            .deleteRecords(Collections.singletonMap(partition, RecordsToDelete.beforeOffset(before)))
            .lowWatermarks().get(partition).get().lowWatermark());
        Report.check(low == before, "low watermark is " + low);
    }

    static String config(Target target, String key) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, target.topic);
        return with(target, admin -> admin
            .describeConfigs(Collections.singleton(topic)).all().get().get(topic).get(key).value());
    }

    static void alter(Target target, String key, String value) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, target.topic);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        with(target, admin -> admin
            .incrementalAlterConfigs(Collections.singletonMap(topic, Collections.singleton(set))).all().get());
    }

    static Set<String> groups(Target target) throws Exception {
        Set<String> groups = new HashSet<>();
        for (ConsumerGroupListing group : with(target, admin -> admin.listConsumerGroups().all().get())) {
            groups.add(group.groupId());
        }
        return groups;
    }

    static String groupState(Target target, String group) throws Exception {
        return with(target, admin -> admin.describeConsumerGroups(Collections.singleton(group))
            .all().get().get(group).state().toString());
    }

    static void deleteGroup(Target target, String group) throws Exception {
        with(target, admin -> admin.deleteConsumerGroups(Collections.singleton(group)).all().get());
    }

    /** Takes static members out of their group. */
    static void removeMembers(Target target, String group, List<String> names) throws Exception {
        List<MemberToRemove> members = names.stream().map(MemberToRemove::new).collect(Collectors.toList());
        with(target, admin -> admin.removeMembersFromConsumerGroup(
            group, new RemoveMembersFromConsumerGroupOptions(members)).all().get());
    }

    static void deleteOffset(Target target, String group, TopicPartition partition) throws Exception {
        with(target, admin -> admin
            .deleteConsumerGroupOffsets(group, Collections.singleton(partition)).all().get());
    }

    static void resetOffsets(Target target, String group, Map<TopicPartition, Long> offsets) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> reset = new HashMap<>();
        offsets.forEach((partition, offset) -> reset.put(partition, new OffsetAndMetadata(offset)));
        with(target, admin -> admin.alterConsumerGroupOffsets(group, reset).all().get());
    }

    static Map<TopicPartition, Long> offsets(Target target, String group) throws Exception {
        Map<TopicPartition, Long> offsets = new HashMap<>();
        with(target, admin -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get())
            .forEach((partition, offset) -> offsets.put(partition, offset.offset()));
        return offsets;
    }

    /** The size of each partition on broker 0, all of them whole and in their place. */
    static Map<TopicPartition, Long> logDirs(Target target) throws Exception {
        Map<TopicPartition, Long> sizes = new HashMap<>();
        Map<Integer, Map<String, LogDirDescription>> brokers =
            with(target, admin -> admin.describeLogDirs(Collections.singleton(0)).allDescriptions().get());
        for (LogDirDescription directory : brokers.get(0).values()) {
            Report.check(directory.error() == null, "error " + directory.error());
            directory.replicaInfos().forEach((partition, replica) -> {
                Report.check(replica.offsetLag() == 0 && !replica.isFuture(), partition + " is " + replica);
                sizes.put(partition, replica.size());
            });
        }
        return sizes;
    }
}
