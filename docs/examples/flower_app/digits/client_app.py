"""The ClientApp: train on this node's part of the digits."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits.task import load, train

app = ClientApp()


@app.train()
def train_here(message: Message, context: Context) -> Message:
    """One local phase."""
    model = message.content["arrays"].to_numpy_ndarrays()
    images, classes = load(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
    config = context.run_config
    loss = train(model, images, classes, int(config["local-epochs"]), float(config["learning-rate"]))
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(images)})
    return Message(content=RecordDict({"arrays": ArrayRecord(model), "metrics": metrics}), reply_to=message)
