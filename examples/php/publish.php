<?php
// Sends two tasks: one with a countdown, one straight onto the ladder. composer require php-amqplib/php-amqplib
require 'vendor/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

$queue = $argv[1] ?? 'default';
$at = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost:5672/');
$vhost = urldecode(ltrim($at['path'] ?? '', '/')) ?: '/';
$connection = new AMQPStreamConnection($at['host'], $at['port'] ?? 5672, $at['user'], $at['pass'], $vhost);
$channel = $connection->channel();
$channel->confirm_select();
$fail = function () use ($queue) {
    fwrite(STDERR, "not sent (is $queue declared?)\n");
    exit(1);
};
$channel->set_nack_handler($fail);
$channel->set_return_listener($fail);

$publish = function (string $exchange, string $key, string $message, array $headers = []) use ($channel) {
    $properties = [
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'content_type' => 'application/json',
        'message_id' => bin2hex(random_bytes(16)),
        'timestamp' => time(),
        'application_headers' => new AMQPTable($headers),
    ];
    $channel->basic_publish(new AMQPMessage($message, $properties), $exchange, $key, true);
};

$publish('', $queue, '{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}');
$publish("$queue.wait", 'in>20s', '{"url": "/reminder", "payload": {"user": 7}}', ['CC' => ["10s>due:$queue"]]);
$channel->wait_for_pending_acks_returns(30);
$connection->close();
