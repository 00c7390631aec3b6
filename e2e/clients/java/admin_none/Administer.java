import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;

/** Stands for the admin client that releases before 0.11 do not have; topics come by being asked for. */
final class Administer {
    private Administer() {}

    static void createTopic(Target target, String topic, int partitions) throws Exception {
        try (KafkaProducer<String, String> producer = target.producer()) {
            Groups.await("the topic", () -> !producer.partitionsFor(topic).isEmpty());
        }
    }

    static void deleteTopic(Target target, String topic) throws Report.Cannot {
        throw none();
    }

    static Set<String> topics(Target target) throws Report.Cannot {
        throw none();
    }

    static void createPartitions(Target target, String topic, int count) throws Report.Cannot {
        throw none();
    }

    static void deleteRecords(Target target, TopicPartition partition, long before) throws Report.Cannot {
        throw none();
    }

    static String config(Target target, String key) throws Report.Cannot {
        throw none();
    }

    static void alter(Target target, String key, String value) throws Report.Cannot {
        throw none();
    }

    static Set<String> groups(Target target) throws Report.Cannot {
        throw none();
    }

    static String groupState(Target target, String group) throws Report.Cannot {
        throw none();
    }

    static void deleteGroup(Target target, String group) throws Report.Cannot {
        throw none();
    }

    static void removeMembers(Target target, String group, List<String> names) throws Report.Cannot {
        throw none();
    }

    static void deleteOffset(Target target, String group, TopicPartition partition) throws Report.Cannot {
        throw none();
    }

    static void resetOffsets(Target target, String group, Map<TopicPartition, Long> offsets) throws Report.Cannot {
        throw none();
    }

    static Map<TopicPartition, Long> offsets(Target target, String group) throws Report.Cannot {
        throw none();
    }

    static Map<TopicPartition, Long> logDirs(Target target) throws Report.Cannot {
        throw none();
    }

    private static Report.Cannot none() {
        return new Report.Cannot("this release has no admin client");
    }
}
