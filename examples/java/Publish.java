// Sends two tasks: one with a countdown, one straight onto the ladder. com.rabbitmq:amqp-client

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;

class Publish {
    public static void main(String[] given) throws Exception {
        String queue = given.length > 0 ? given[0] : "default";
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@localhost:5672"));
        AtomicBoolean returned = new AtomicBoolean();
        try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
            channel.confirmSelect();
            channel.addReturnListener(message -> returned.set(true));
            publish(channel, "", queue, Map.of(), """
                    {"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}
                    """);
            publish(channel, queue + ".wait", "in>20s", Map.of("CC", List.of("10s>due:" + queue)), """
                    {"url": "/reminder", "payload": {"user": 7}}
                    """);
            channel.waitForConfirmsOrDie(30_000);
        } catch (ShutdownSignalException | IOException error) {
            System.err.println(error);
            returned.set(true);
        }
        if (returned.get()) {
            System.err.println("not sent (is " + queue + " declared?)");
            System.exit(1);
        }
    }

    static void publish(Channel channel, String exchange, String key, Map<String, Object> headers, String message)
            throws Exception {
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                .deliveryMode(2)
                .contentType("application/json")
                .messageId(UUID.randomUUID().toString())
                .timestamp(new Date())
                .headers(headers)
                .build();
        boolean mandatory = true;
        channel.basicPublish(exchange, key, mandatory, properties, message.getBytes(StandardCharsets.UTF_8));
    }
}
