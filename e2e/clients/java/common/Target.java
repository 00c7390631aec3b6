import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;

/** The broker, and the names that one client uses on it. */
final class Target {
    static final String SERIALIZER = "org.apache.kafka.common.serialization.StringSerializer";
    static final String DESERIALIZER = "org.apache.kafka.common.serialization.StringDeserializer";

    final String bootstrap;
    final String topic;
    final String group;
    /** How many records of partition 0 were deleted. */
    int deleted;
    private int readers;

    Target(String bootstrap, String name) {
        this.bootstrap = bootstrap;
        this.topic = name;
        this.group = name + "-group";
    }

    KafkaProducer<String, String> producer(String... settings) {
        Map<String, Object> config = config(settings);
        config.put("key.serializer", SERIALIZER);
        config.put("value.serializer", SERIALIZER);
        config.put("acks", "all");
        config.put("linger.ms", "20");
        return new KafkaProducer<>(config);
    }

    /** A consumer that starts at the end named by "reset" unless its group has committed. */
    KafkaConsumer<String, String> consumer(String group, String reset, String... settings) {
        Map<String, Object> config = config(
            "group.id", group,
            "auto.offset.reset", reset,
            "enable.auto.commit", "false",
            "session.timeout.ms", "6000",
            "heartbeat.interval.ms", "300");
        config.put("key.deserializer", DESERIALIZER);
        config.put("value.deserializer", DESERIALIZER);
        config.putAll(pairs(settings));
        return new KafkaConsumer<>(config);
    }

    /** A group that no consumer had before. */
    String freshGroup() {
        readers += 1;
        return group + "-reader-" + readers;
    }

    int partitions(String topic) {
        try (KafkaProducer<String, String> producer = producer()) {
            return producer.partitionsFor(topic).size();
        }
    }

    Map<String, Object> config(String... settings) {
        Map<String, Object> config = pairs(settings);
        config.put("bootstrap.servers", bootstrap);
        return config;
    }

    private static Map<String, Object> pairs(String... settings) {
        Map<String, Object> pairs = new HashMap<>();
        for (int i = 0; i < settings.length; i += 2) {
            pairs.put(settings[i], settings[i + 1]);
        }
        return pairs;
    }
}
