import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** What a broker knows of the producers of a partition, which the admin client asks for from 3.0 on. */
final class Producers {
    private Producers() {}

    /** One idempotent producer of three records is described as it is. */
    static void describe(Target target) throws Exception {
        TopicPartition partition = new TopicPartition(target.topic + "-producers", 0);
        Administer.createTopic(target, partition.topic(), 1);
        long timestamp = System.currentTimeMillis();
        try (KafkaProducer<String, String> producer = target.producer("enable.idempotence", "true")) {
            for (int i = 0; i < 3; i++) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, timestamp, null, "value" + i)).get();
            }
        }
        List<ProducerState> producers;
        try (Admin admin = Admin.create(target.config())) {
            producers = admin.describeProducers(Collections.singleton(partition))
                .partitionResult(partition).get().activeProducers();
        }
        Report.check(producers.size() == 1, "producers " + producers);
        ProducerState only = producers.get(0);
        boolean same = only.producerId() >= 0 && only.producerEpoch() == 0 && only.lastSequence() == 2
            && only.lastTimestamp() == timestamp && !only.currentTransactionStartOffset().isPresent();
        Report.check(same, "producer " + only);
    }
}
