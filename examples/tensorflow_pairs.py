"""Eq. (3) of Weston, Ratle & Collobert (ICML 2008) in TensorFlow, two ways, on the bundled digits.

1. A batch of 16 features with labels: all 120 pairs, in the graph, the pair loss added to the
   network's own loss. The pairs, their indices and distances on the way, should one want them.
2. Pairs sampled beforehand into left / right / same, a linear map W, and a loss of two rows.

Run: python examples/tensorflow_pairs.py
"""

import keras
import numpy as np
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt


def batch_with_labels(x, y, steps=300):
    """A classifier whose hidden layer also learns from all pairs of each batch of 16."""
    inputs = keras.Input(x.shape[1:])
    hidden = keras.layers.Dense(32, activation="tanh")(inputs)
    network = keras.Model(inputs, [hidden, keras.layers.Dense(10)(hidden)])
    network_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pair_loss = nt.ContrastiveLoss(margin=4)
    optimizer = keras.optimizers.Adam(0.005)

    @tf.function
    def step(features, labels):
        with tf.GradientTape() as tape:
            embeddings, logits = network(features, training=True)
            # eq. (3): a positive pair adds d^2, a negative max(0, margin - d)^2; mean over pairs
            loss = network_loss(labels, logits) + 0.1 * pair_loss(labels, embeddings)
        weights = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0).repeat().batch(16)
    for features, labels in data.take(steps):
        step(features, labels)

    # The same by hand: which pairs are same and which differ, and distances of just those.
    pos_i, pos_j, neg_i, neg_j = nt.pair_indices(labels)
    classes, rows = nt.class_indices(labels)
    embeddings, _ = network(features)
    positive = nt.pair_distances(embeddings, pos_i, pos_j)
    negative = nt.pair_distances(embeddings, neg_i, neg_j)
    by_hand = (tf.reduce_sum(positive**2) + tf.reduce_sum(tf.nn.relu(4 - negative)**2)) / (
        len(positive) + len(negative))
    np.testing.assert_allclose(by_hand, pair_loss(labels, embeddings), rtol=1e-5)
    print(f"batch of 16: {len(classes)} classes, the first in rows {rows[0].numpy()}; "
          f"{len(pos_i)} positive pairs, {len(neg_i)} negative; loss {float(by_hand):.4f}")
    return network.predict(x, verbose=0)[0]


def pairs_offline(x, y, count=20000):
    """W (d, 16) from pairs drawn once: left, right and same are three arrays."""
    pairs = nearfar.sample_pairs(y, count, seed=0)
    left, right, same = x[pairs.i], x[pairs.j], pairs.same.astype(np.int64)

    # As a Keras model: y_pred is (n, 2, 16), left and right of a pair.
    a, b = keras.Input(x.shape[1:]), keras.Input(x.shape[1:])
    linear = keras.layers.Dense(16, use_bias=False,
                                kernel_initializer=keras.initializers.RandomNormal(0, 0.1, seed=0))
    model = keras.Model([a, b], keras.ops.stack([linear(a), linear(b)], axis=1))
    model.compile(keras.optimizers.Adam(0.005),
                  nt.ContrastiveLoss("hinge", margin=4, form="rows"))
    history = model.fit([left, right], same, batch_size=256, epochs=3, verbose=0)
    print("pairs offline: loss of the epochs",
          " ".join(f"{loss:.4f}" for loss in history.history["loss"]))

    # The same loss written out: y * d2 + (1 - y) * relu(margin - d2), its mean.
    loss = nt.ContrastiveLoss("hinge", margin=4)
    x1, x2 = tf.matmul(left, linear.kernel), tf.matmul(right, linear.kernel)
    d2 = tf.reduce_sum((x1 - x2)**2, axis=1)
    flag = same.astype(np.float32)
    by_hand = tf.reduce_mean(flag * d2 + (1 - flag) * tf.nn.relu(4 - d2))
    np.testing.assert_allclose(loss.rows(x1, x2, same), by_hand, rtol=1e-4)
    return np.asarray(linear(x))


def main():
    keras.utils.set_random_seed(0)
    x, y = nearfar.load_digits("train")
    x /= x.std()
    before = nearfar.evaluate(x, y).map_at_r
    for name, embeddings in (("network loss + pair loss", batch_with_labels(x, y)),
                             ("linear map of pairs", pairs_offline(x, y))):
        after = nearfar.evaluate(embeddings, y).map_at_r
        print(f"{name}: MAP@R {before:.3f} before, {after:.3f} after")
        assert after > before


if __name__ == "__main__":
    main()
