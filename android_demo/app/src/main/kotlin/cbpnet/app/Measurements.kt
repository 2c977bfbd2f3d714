package cbpnet.app

import android.content.SharedPreferences

/** How long things took on this phone: of the newest images the median, and the last lesson. */
class Measurements(private val stored: SharedPreferences) {
    private val newest = ArrayDeque<Float>()

    /** Milliseconds to recognise an image, or null before the first. */
    val imageMillis: Float? get() = stored.getFloat("image", -1f).takeIf { it >= 0 }

    /** Milliseconds of the last lesson for one look at a picture, or null before the first. */
    val stepMillis: Float? get() = stored.getFloat("step", -1f).takeIf { it >= 0 }

    /** Notes how long recognising an image took. */
    @Synchronized
    fun image(millis: Float) {
        newest.addLast(millis)
        if (newest.size > WINDOW) newest.removeFirst()
        if (newest.size % STORE_EVERY == 0) {
            stored.edit().putFloat("image", newest.sorted()[newest.size / 2]).apply()
        }
    }

    /** Notes a lesson: its duration, and how often it looked at a picture. */
    fun lesson(millis: Long, looks: Int) {
        stored.edit().putFloat("step", millis.toFloat() / looks).apply()
    }

    private companion object {
        const val WINDOW = 50
        const val STORE_EVERY = 10
    }
}
