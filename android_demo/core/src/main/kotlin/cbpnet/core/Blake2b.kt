package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** BLAKE2b-512 without a key (RFC 7693), which no Android has; takes a file piece by piece. */
public class Blake2b {
    private val state = IV.copyOf().also { it[0] = it[0] xor PARAMETERS }
    private val block = ByteArray(BLOCK)
    private var filled = 0
    private var taken = 0L

    /** Takes the first [length] bytes of a piece. */
    public fun update(piece: ByteArray, length: Int = piece.size) {
        var from = 0
        while (from < length) {
            if (filled == BLOCK) compress(last = false) // the last block, full or not, is for digest
            val count = minOf(BLOCK - filled, length - from)
            piece.copyInto(block, filled, from, from + count)
            filled += count
            from += count
        }
    }

    /** Returns the 64 bytes; nothing can be taken after it. */
    public fun digest(): ByteArray {
        block.fill(0, filled)
        compress(last = true)
        val bytes = ByteBuffer.allocate(8 * state.size).order(ByteOrder.LITTLE_ENDIAN)
        state.forEach(bytes::putLong)
        return bytes.array()
    }

    private fun compress(last: Boolean) {
        taken += filled
        filled = 0
        val words = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer()
        val m = LongArray(16, words::get)
        val v = state + IV
        v[12] = v[12] xor taken
        if (last) v[14] = v[14].inv()
        for (round in 0 until ROUNDS) {
            val order = SIGMA[round % SIGMA.size]
            for (column in 0..3) {
                mix(v, column, column + 4, column + 8, column + 12, m[order[2 * column]], m[order[2 * column + 1]])
            }
            for (line in 0..3) {
                val (b, c, d) = Triple(4 + (line + 1) % 4, 8 + (line + 2) % 4, 12 + (line + 3) % 4)
                mix(v, line, b, c, d, m[order[8 + 2 * line]], m[order[9 + 2 * line]])
            }
        }
        for (place in state.indices) state[place] = state[place] xor v[place] xor v[place + 8]
    }

    @Suppress("LongParameterList") // as section 3.1 has it
    private fun mix(v: LongArray, a: Int, b: Int, c: Int, d: Int, x: Long, y: Long) {
        v[a] += v[b] + x
        v[d] = (v[d] xor v[a]).rotateRight(32)
        v[c] += v[d]
        v[b] = (v[b] xor v[c]).rotateRight(24)
        v[a] += v[b] + y
        v[d] = (v[d] xor v[a]).rotateRight(16)
        v[c] += v[d]
        v[b] = (v[b] xor v[c]).rotateRight(63)
    }

    private companion object {
        const val BLOCK = 128
        const val ROUNDS = 12
        const val PARAMETERS = 0x01010040L // a digest of 64 bytes, no key, no tree

        val IV = longArrayOf(
            0x6a09e667f3bcc908, 0xbb67ae8584caa73bu.toLong(), 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1u.toLong(),
            0x510e527fade682d1, 0x9b05688c2b3e6c1fu.toLong(), 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
        )

        val SIGMA = arrayOf(
            intArrayOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            intArrayOf(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
            intArrayOf(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
            intArrayOf(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
            intArrayOf(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
            intArrayOf(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
            intArrayOf(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
            intArrayOf(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
            intArrayOf(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
            intArrayOf(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
        )
    }
}
