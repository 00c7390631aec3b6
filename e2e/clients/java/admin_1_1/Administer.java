import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.requests.DescribeLogDirsResponse.LogDirInfo;

/** Administration with the admin client of 1.0 to 2.2. */
final class Administer {
    private Administer() {}

    /** A call on an open admin client. */
    private interface Call<T> {
        T on(AdminClient admin) throws Exception;
    }

    private static <T> T with(Target target, Call<T> call) throws Exception {
        try (AdminClient admin = AdminClient.create(target.config())) {
            return call.on(admin);
        }
    }

    static void createTopic(Target target, String topic, int partitions) throws Exception {
        NewTopic created = new NewTopic(topic, partitions, (short) 1);
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
        Config config = new Config(Collections.singleton(new ConfigEntry(key, value)));
        with(target, admin -> admin.alterConfigs(Collections.singletonMap(topic, config)).all().get());
    }

    static Set<String> groups(Target target) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static String groupState(Target target, String group) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static void deleteGroup(Target target, String group) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static void removeMembers(Target target, String group, List<String> names) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static void deleteOffset(Target target, String group, TopicPartition partition) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static void resetOffsets(Target target, String group, Map<TopicPartition, Long> offsets) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    static Map<TopicPartition, Long> offsets(Target target, String group) throws Exception {
        throw new Report.Cannot("this release's admin client knows no groups");
    }

    /** The size of each partition on broker 0, all of them whole and in their place. */
    static Map<TopicPartition, Long> logDirs(Target target) throws Exception {
        Map<TopicPartition, Long> sizes = new HashMap<>();
        Map<Integer, Map<String, LogDirInfo>> brokers =
            with(target, admin -> admin.describeLogDirs(Collections.singleton(0)).all().get());
        for (LogDirInfo directory : brokers.get(0).values()) {
            Report.check(directory.error == Errors.NONE, "error " + directory.error);
            directory.replicaInfos.forEach((partition, replica) -> {
                Report.check(replica.offsetLag == 0 && !replica.isFuture, partition + " is " + replica);
                sizes.put(partition, replica.size);
            });
        }
        return sizes;
    }
}
