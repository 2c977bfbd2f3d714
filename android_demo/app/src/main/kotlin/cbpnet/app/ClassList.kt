package cbpnet.app

import android.content.Context
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter
import android.widget.ImageView
import android.widget.TextView

/** A class in the library: its label and the number of pictures that it was learnt from. */
data class KnownClass(val label: String, val images: Int)

/** The library's rows. */
class ClassList(private val context: Context, private val pictures: PictureStore) : BaseAdapter() {
    private var classes = emptyList<KnownClass>()

    fun show(known: List<KnownClass>) {
        classes = known
        notifyDataSetChanged()
    }

    override fun getCount(): Int = classes.size

    override fun getItem(position: Int): KnownClass = classes[position]

    override fun getItemId(position: Int): Long = position.toLong()

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val row = convertView ?: LayoutInflater.from(context).inflate(R.layout.class_row, parent, false)
        val known = classes[position]
        row.view<TextView>(R.id.class_name).text = known.label
        row.view<TextView>(R.id.class_images).text =
            context.resources.getQuantityString(R.plurals.pictures, known.images, known.images)
        val side = context.resources.getDimensionPixelSize(R.dimen.thumbnail)
        row.view<ImageView>(R.id.class_thumbnail)
            .setImageBitmap(pictures.thumbnail(known.label)?.let { loadThumbnail(it, side) })
        return row
    }
}
