import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** Sends records and remembers each as "key=value". */
final class Producing {
    private static final int RECORDS = 10;

    final List<String> sent = new ArrayList<>();
    private final Target target;

    Producing(Target target) {
        this.target = target;
    }

    void compressed(String codec) throws Exception {
        KafkaProducer<String, String> producer;
        try {
            producer = target.producer("compression.type", codec);
        } catch (RuntimeException error) {
            if (codec.equals("zstd")) {
                throw new Report.Cannot("this release has no zstd");
            }
            throw error;
        }
        send(producer, codec);
    }

    void idempotent() throws Exception {
        try {
            ProducerConfig.class.getField("ENABLE_IDEMPOTENCE_CONFIG");
        } catch (NoSuchFieldException absent) {
            throw new Report.Cannot("this release has no idempotence");
        }
        send(target.producer("enable.idempotence", "true"), "idempotent");
    }

    /** Sends one record to a partition and returns its offset. */
    long one(int partition, String value) throws Exception {
        try (KafkaProducer<String, String> producer = target.producer()) {
            long offset = producer
                .send(new ProducerRecord<String, String>(target.topic, partition, null, value))
                .get().offset();
            sent.add("null=" + value);
            return offset;
        }
    }

    private void send(KafkaProducer<String, String> producer, String label) throws Exception {
        List<Future<RecordMetadata>> pending = new ArrayList<>();
        try {
            for (int i = 0; i < RECORDS; i++) {
                pending.add(send(producer, label + "-key-" + i, label + "-keyed-" + i));
                pending.add(send(producer, null, label + "-" + i));
            }
            for (Future<RecordMetadata> one : pending) {
                Report.check(one.get().offset() >= 0, "no offset was returned");
            }
        } finally {
            producer.close();
        }
    }

    private Future<RecordMetadata> send(KafkaProducer<String, String> producer, String key, String value) {
        sent.add(key + "=" + value);
        return producer.send(new ProducerRecord<String, String>(target.topic, key, value));
    }
}
