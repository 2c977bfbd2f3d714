package cbpnet.app

import android.widget.ImageButton
import android.widget.ImageView
import android.widget.LinearLayout
import java.io.File

/** The pictures of a class in a row, the newest first; a touch chooses one. */
class PictureStrip(private val row: LinearLayout, private val onChosen: (File) -> Unit) {
    private var shown = emptyList<File>()

    fun show(pictures: List<File>) {
        val newestFirst = pictures.asReversed().toList()
        if (newestFirst == shown) return
        // Mostly one has been added: the others stay as they are.
        val added = newestFirst.takeWhile { it !in shown }
        if (newestFirst.drop(added.size) == shown) {
            added.asReversed().forEach { row.addView(button(it), 0) }
        } else {
            row.removeAllViews()
            newestFirst.forEach { row.addView(button(it)) }
        }
        shown = newestFirst
        for (place in shown.indices) {
            row.getChildAt(place).contentDescription =
                row.resources.getString(R.string.picture_of, shown.size - place, shown.size)
        }
    }

    private fun button(picture: File): ImageButton {
        val side = row.resources.getDimensionPixelSize(R.dimen.thumbnail)
        return ImageButton(row.context).apply {
            layoutParams = LinearLayout.LayoutParams(side, side)
            scaleType = ImageView.ScaleType.CENTER_CROP
            setImageBitmap(loadThumbnail(picture, side))
            setOnClickListener { onChosen(picture) }
        }
    }
}
