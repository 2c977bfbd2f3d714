package cbpnet.core

import java.nio.ByteBuffer
import java.security.MessageDigest

/**
 * The random numbers of one [purpose] under a [seed]: those that the Python host draws with torch.
 *
 * The two are hashed together to the seed of a Mersenne Twister.
 */
internal class RandomStream(seed: Int, purpose: Int) {
    private val words = MersenneTwister(
        ByteBuffer.wrap(MessageDigest.getInstance("SHA-256").digest("$seed $purpose".toByteArray())).getInt(),
    )

    /** The numbers from 0 to [count] - 1 in a random order. */
    fun permutation(count: Int): IntArray {
        val order = IntArray(count) { it }
        for (place in 0 until count - 1) {
            val other = place + Integer.remainderUnsigned(words.next(), count - place)
            order[place] = order[other].also { order[other] = order[place] }
        }
        return order
    }

    /** [count] numbers, uniform in [0, 1). */
    fun uniform(count: Int): FloatArray = FloatArray(count) { (words.next() and FRACTION) / (FRACTION + 1).toFloat() }

    private companion object {
        const val FRACTION = (1 shl 24) - 1 // a float's: one bit more could round up to 1
    }
}

/**
 * MT19937 of 32 bits: Matsumoto and Nishimura, "Mersenne Twister", ACM Transactions on Modeling and
 * Computer Simulation 8(1), 1998, with their later initialisation by one number.
 */
private class MersenneTwister(seed: Int) {
    private val state = IntArray(SIZE)
    private var used = SIZE

    init {
        state[0] = seed
        for (i in 1 until SIZE) state[i] = 1812433253 * (state[i - 1] xor (state[i - 1] ushr 30)) + i
    }

    /** The next 32 bits. */
    fun next(): Int {
        if (used == SIZE) twist()
        var word = state[used++]
        word = word xor (word ushr 11)
        word = word xor (word shl 7 and 0x9D2C5680.toInt())
        word = word xor (word shl 15 and 0xEFC60000.toInt())
        return word xor (word ushr 18)
    }

    private fun twist() {
        for (i in 0 until SIZE) {
            val joined = (state[i] and Int.MIN_VALUE) or (state[(i + 1) % SIZE] and Int.MAX_VALUE)
            val odd = if (joined and 1 == 1) 0x9908B0DF.toInt() else 0
            state[i] = state[(i + PERIOD) % SIZE] xor (joined ushr 1) xor odd
        }
        used = 0
    }

    private companion object {
        const val SIZE = 624
        const val PERIOD = 397
    }
}
