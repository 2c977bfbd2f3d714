package cbpnet.core

import kotlin.math.abs

/** Red, green and blue. */
internal const val CHANNELS = 3

/** How an image is made smaller or larger: a filter, zero outside [-[support], [support]]. */
public enum class Interpolation(internal val support: Double) {
    BILINEAR(1.0),
    BICUBIC(2.0),
    ;

    /** The filter's value at a distance in pixels: a triangle, or Keys' cubic with a = -0.5. */
    internal fun weight(distance: Double): Double {
        val x = abs(distance)
        return when {
            x >= support -> 0.0
            this == BILINEAR -> 1 - x
            x < 1 -> (1.5 * x - 2.5) * x * x + 1
            else -> ((-0.5 * x + 2.5) * x - 4) * x + 2
        }
    }
}

/**
 * How a backbone wants its images, from its own evaluation.
 *
 * @property imageSize S, in pixels: what the backbone takes is S x S.
 * @property mean of red, green and blue, for pixels in [0, 1].
 * @property std standard deviation of red, green and blue.
 * @property cropPct in (0, 1]: the shorter side becomes S / cropPct, of which the centre is kept.
 */
public data class Preprocessing(
    val imageSize: Int,
    val mean: List<Float>,
    val std: List<Float>,
    val interpolation: Interpolation,
    val cropPct: Double,
) {
    public companion object {
        private const val LARGEST_SIZE = 4096

        /**
         * Reads the manifest's entry.
         *
         * @throws JsonException an entry is missing, of another kind, or not possible.
         */
        public fun read(json: JsonObject): Preprocessing {
            val found = Preprocessing(
                json.integer("image_size"),
                json.numbers("mean").map(Double::toFloat),
                json.numbers("std").map(Double::toFloat),
                interpolation(json.text("interpolation")),
                json.number("crop_pct"),
            )
            val holds = found.imageSize in 1..LARGEST_SIZE && found.cropPct > 0 && found.cropPct <= 1 &&
                found.mean.size == CHANNELS && found.std.size == CHANNELS && found.std.all { it > 0 }
            if (!holds) throw JsonException("\"preprocessing\" is not possible: $json")
            return found
        }

        private fun interpolation(name: String) =
            Interpolation.entries.find { it.name.equals(name, ignoreCase = true) }
                ?: throw JsonException("the interpolation \"$name\" is neither bicubic nor bilinear")
    }
}
