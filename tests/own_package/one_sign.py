"""Random signs, labelled by the first of them."""

import jax.numpy as jnp
import jax.random as jr

from lazyrich.tasks import AbstractTask, Blocks, Samples, Split


class OneSign(AbstractTask):
    n: int = 12
    d: int = 40

    def sample(self, key):
        train, test = jr.split(key)

        def draw(key, num):
            x = jr.rademacher(key, (num, self.d), jnp.int8)
            return Samples(x, x[:, 0])

        return Split(draw(train, self.n), Blocks(lambda index: draw(test, 60), 1))
