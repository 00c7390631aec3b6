import java.util.Collections;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;

/** Look-up by time, which the consumer has from 0.10.1 on. */
final class Times {
    private Times() {}

    static long timestamp(ConsumerRecord<String, String> record) {
        return record.timestamp();
    }

    static long offset(KafkaConsumer<String, String> consumer, TopicPartition partition, long timestamp) {
        OffsetAndTimestamp found =
            consumer.offsetsForTimes(Collections.singletonMap(partition, timestamp)).get(partition);
        return found == null ? -1 : found.offset();
    }
}
