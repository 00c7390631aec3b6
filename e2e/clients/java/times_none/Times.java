import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Stands for the look-up by time that this release does not have. */
final class Times {
    private Times() {}

    static long timestamp(ConsumerRecord<String, String> record) throws Report.Cannot {
        throw new Report.Cannot("records of this release have no timestamp");
    }

    static long offset(KafkaConsumer<String, String> consumer, TopicPartition partition, long timestamp)
            throws Report.Cannot {
        throw new Report.Cannot("this release cannot look up by time");
    }
}
