"""An embedding of digits by losses that compare the pairs of a row, in Keras: `fit` with the
supervised contrastive loss, with all triplets, and with the margin loss, whose boundaries the model
learns; then a step of one's own with a memory bank.

    python examples/tensorflow_losses.py
"""

import keras
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt


def digits():
    """Half of the bundled digits to train on, half to look at: rows in [0, 1] and labels."""
    x, labels = nearfar.load_digits()[:2]
    x, half = (x / 16).astype("float32"), len(x) // 2
    return (x[:half], labels[:half]), (x[half:], labels[half:])


def network():
    return keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(16)])


def fitted(x, labels, loss, boundary=None):
    """A network by model.fit; `boundary` is a variable that it learns besides."""
    model = network()
    if boundary is not None:
        model.boundary = boundary
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(x, labels, batch_size=128, epochs=8, verbose=0)
    return model


def with_bank(x, labels, loss, steps=200):
    """A network by small batches that meet the rows of earlier ones."""
    model, bank, optimizer = network(), nt.MemoryBank(512, dim=16), keras.optimizers.Adam(3e-3)
    model.build((None, x.shape[1]))

    @tf.function
    def step(rows, labels):
        with tf.GradientTape() as tape:
            value = bank.loss(loss, labels, model(rows))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)

    data = tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(len(x), seed=0).repeat()
    for rows, some in data.batch(32).take(steps):
        step(rows, some)
    return model


def report(name, x, labels):
    """MAP@R of every row among the others, by the cosine."""
    print(f"{name:22} MAP@R {nearfar.evaluate(x, labels, metric='cosine').map_at_r:.3f}")


def main():
    keras.utils.set_random_seed(0)
    (x, labels), (test_x, test_labels) = digits()
    report("pixels", test_x, test_labels)
    margin = nt.MarginLoss(learn_beta=True, num_classes=10)
    for name, model in (("SupCon", fitted(x, labels, nt.SupConLoss())),
                        ("all triplets", fitted(x, labels, nt.TripletMarginLoss(0.2))),
                        ("margin, beta learnt", fitted(x, labels, margin, margin.beta)),
                        ("NT-Xent, memory bank", with_bank(x, labels, nt.NTXentLoss(0.1)))):
        report(name, model(test_x).numpy(), test_labels)


if __name__ == "__main__":
    main()
