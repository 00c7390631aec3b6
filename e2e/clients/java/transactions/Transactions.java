import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Several transactions, every second one aborted, in both partitions of a topic; arguments: bootstrap, topic. */
public final class Transactions {
    private Transactions() {}

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("transactional.id", args[1] + "-id");
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", StringSerializer.class.getName());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            producer.initTransactions();
            for (int number = 0; number < 6; number++) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    String value = number + " " + i + (number % 2 == 0 ? " committed" : " aborted");
                    producer.send(new ProducerRecord<>(args[1], i % 2, "key-" + i, value)).get();
                }
                if (number % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
    }
}
