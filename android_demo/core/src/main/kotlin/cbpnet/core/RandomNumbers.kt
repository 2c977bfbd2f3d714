package cbpnet.core

import java.util.SplittableRandom

/** The random numbers of a lesson's task; the learner needs them good, but of no particular stream. */
public interface RandomNumbers {
    /** The numbers from 0 to [count] - 1 in a random order. */
    public fun permutation(count: Int): IntArray

    /** [count] numbers, uniform in [0, 1). */
    public fun uniform(count: Int): FloatArray
}

/** Random numbers of which the same [seed] and [task] give the same, on any device. */
public class SeededNumbers(seed: Int, task: Int) : RandomNumbers {
    private val random = SplittableRandom(seed.toLong() shl Int.SIZE_BITS or task.toLong())

    override fun permutation(count: Int): IntArray {
        val order = IntArray(count) { it }
        for (last in count - 1 downTo 1) {
            val other = random.nextInt(last + 1)
            order[last] = order[other].also { order[other] = order[last] }
        }
        return order
    }

    override fun uniform(count: Int): FloatArray =
        FloatArray(count) { (random.nextInt() ushr (Int.SIZE_BITS - FRACTION)) / (1 shl FRACTION).toFloat() }

    private companion object {
        const val FRACTION = 24 // bits of a float's fraction: one more could round up to 1
    }
}
