import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Administration with the admin client of 0.11. */
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
        throw new Report.Cannot("this release cannot add partitions over the wire");
    }

    static void deleteRecords(Target target, TopicPartition partition, long before) throws Exception {
        throw new Report.Cannot("this release cannot delete records");
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

    static Map<TopicPartition, Long> logDirs(Target target) throws Exception {
        throw new Report.Cannot("this release cannot describe log directories");
    }
}
