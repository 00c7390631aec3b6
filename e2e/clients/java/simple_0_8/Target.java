import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;

/** The broker, and the names that the client of 0.8.2 uses on it. */
final class Target {
    private static final String SERIALIZER = "org.apache.kafka.common.serialization.StringSerializer";

    final String bootstrap;
    final String topic;
    final String group;

    Target(String bootstrap, String name) {
        this.bootstrap = bootstrap;
        this.topic = name;
        this.group = name + "-group";
    }

    String host() {
        return bootstrap.substring(0, bootstrap.lastIndexOf(':'));
    }

    int port() {
        return Integer.parseInt(bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
    }

    KafkaProducer<String, String> producer(String... settings) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.serializer", SERIALIZER);
        config.put("value.serializer", SERIALIZER);
        config.put("acks", "all");
        config.put("linger.ms", "20");
        for (int i = 0; i < settings.length; i += 2) {
            config.put(settings[i], settings[i + 1]);
        }
        return new KafkaProducer<>(config);
    }
}
