# Sends two tasks: one with a countdown, one straight onto the ladder. gem install bunny
require "bunny"
require "securerandom"

queue = ARGV[0] || "default"
connection = Bunny.new(ENV["AMQP_URL"] || "amqp://guest:guest@localhost:5672").start
channel = connection.create_channel
channel.confirm_select
returned = []

publish = lambda do |exchange, key, message, headers = {}|
  exchange.on_return { |info, _, _| returned << info.reply_text }
  exchange.publish(message, routing_key: key, persistent: true, mandatory: true,
                            content_type: "application/json", message_id: SecureRandom.uuid,
                            timestamp: Time.now.to_i, headers: headers)
end

begin
  publish.call(channel.default_exchange, queue,
               '{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}')
  publish.call(channel.direct("#{queue}.wait", no_declare: true), "in>20s",
               '{"url": "/reminder", "payload": {"user": 7}}', { "CC" => ["10s>due:#{queue}"] })
  taken = channel.wait_for_confirms && returned.empty?
rescue Bunny::Exception, Timeout::Error => error
  # The broker closes a channel over an exchange that is not there.
  warn error.message
end
connection.close
abort "not sent (is #{queue} declared?)" unless taken
