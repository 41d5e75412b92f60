// Sends two tasks: one with a countdown, one straight onto the ladder.
// go get github.com/rabbitmq/amqp091-go
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	queue, url := "default", "amqp://guest:guest@localhost:5672/"
	if len(os.Args) > 1 {
		queue = os.Args[1]
	}
	if given := os.Getenv("AMQP_URL"); given != "" {
		url = given
	}
	connection, err := amqp.Dial(url)
	check(err)
	defer connection.Close()
	channel, err := connection.Channel()
	check(err)
	check(channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 2))

	send := func(exchange, key, message string, headers amqp.Table) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false,
			amqp.Publishing{
				DeliveryMode: amqp.Persistent,
				ContentType:  "application/json",
				MessageId:    fmt.Sprintf("%s-%d", queue, time.Now().UnixNano()),
				Timestamp:    time.Now(),
				Headers:      headers,
				Body:         []byte(message),
			})
		check(err)
		taken, err := confirm.WaitContext(ctx)
		check(err)
		// A return comes before the confirm.
		if !taken || len(returned) > 0 {
			log.Fatalf("not sent (is %s declared?)", queue)
		}
	}

	send("", queue, `{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}`, nil)
	send(queue+".wait", "in>20s", `{"url": "/reminder", "payload": {"user": 7}}`,
		amqp.Table{"CC": []any{"10s>due:" + queue}})
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
