import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An idempotent producer with five requests in flight; arguments: where brokers are, and a topic.
 *
 * <p>Reads "PARTITION VALUE", a line each, until its input ends. Prints, a line each, "sent VALUE OFFSET"
 * or "failed VALUE WHY".
 */
public final class Retries {
    private Retries() {}

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", args[0]);
        config.put("enable.idempotence", "true");
        config.put("acks", "all");
        config.put("max.in.flight.requests.per.connection", "5");
        // A new leader is heard of soon, though the old one says nothing.
        config.put("metadata.max.age.ms", "200");
        StringSerializer strings = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, strings, strings)) {
            BufferedReader input =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                String[] words = line.split(" ", 2);
                send(producer, args[1], Integer.parseInt(words[0]), words[1]);
            }
        }
    }

    private static void send(
        KafkaProducer<String, String> producer, String topic, int partition, String value) {
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
            String outcome = error == null ? "sent " + value + " " + metadata.offset()
                : "failed " + value + " " + error;
            System.out.println(outcome);
            System.out.flush();
        });
    }
}
